//go:build unix

package terminal_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"syscall"
	"time"

	"github.com/terminal-go/terminal"
)

// A job is any script. Its log is a file of the environment.
func ExampleTerminal_Start() {
	term, err := terminal.New(terminal.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close() // ends the job too

	ctx := context.Background()
	job, err := term.Start(ctx, terminal.Request{
		Command: "echo starting; echo listening on 8080; sleep 100",
		Ready:   &terminal.Ready{LogPattern: "^listening"},
	})
	if err != nil {
		log.Fatal(err)
	}
	status, err := job.Status(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(status.ID == job.ID(), status.Running)
	res, err := term.Run(ctx, terminal.Request{Command: "tail -n 1 " + job.LogPath()})
	fmt.Printf("%q %v\n", res.Output, err)
	// Output:
	// true true
	// "listening on 8080\n" <nil>
}

// The job goes on when Start has waited long enough. One that has ended is an
// error of another kind. In both cases there is a Job to ask.
func ExampleReady() {
	term, err := terminal.New(terminal.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()

	ready := &terminal.Ready{LogPattern: "listening", Timeout: 300 * time.Millisecond}
	for _, command := range []string{"sleep 100", "echo port is taken; exit 1"} {
		job, err := term.Start(context.Background(), terminal.Request{Command: command, Ready: ready})
		switch {
		case errors.Is(err, os.ErrProcessDone):
			out, _, _ := job.Output(context.Background(), 0, 0)
			fmt.Printf("ended: %s", out)
		case errors.Is(err, terminal.ErrTimeout):
			fmt.Println("not ready yet")
		}
	}
	// Output:
	// not ready yet
	// ended: port is taken
}

// A job outlives the Job value, and is found again by its id.
func ExampleTerminal_Jobs() {
	term, err := terminal.New(terminal.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()

	ctx := terminal.WithTask(context.Background(), "web")
	for _, command := range []string{"exit 3", "sleep 100"} {
		job, err := term.Start(ctx, terminal.Request{Command: command})
		if err != nil {
			log.Fatal(err)
		}
		if command == "exit 3" {
			job.Wait(ctx)
		}
	}
	all, err := term.Jobs(ctx, "")
	if err != nil {
		log.Fatal(err)
	}
	for _, status := range all {
		job, err := term.Job(ctx, "web", status.ID)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(status.Command, status.Running, status.ExitCode, job.LogPath() == status.LogPath)
	}
	_, err = term.Job(ctx, "web", "0123456789ab")
	fmt.Println(errors.Is(err, terminal.ErrUnknownJob))
	// Output:
	// exit 3 false 3 true
	// sleep 100 true 0 true
	// true
}

// The input of a job stays open until CloseStdin.
func ExampleJob_Write() {
	term, err := terminal.New(terminal.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()

	ctx := context.Background()
	job, err := term.Start(ctx, terminal.Request{Command: "sort; exit 4"})
	if err != nil {
		log.Fatal(err)
	}
	for _, line := range []string{"pear\n", "apple\n"} {
		if err := job.Write(ctx, []byte(line)); err != nil {
			log.Fatal(err)
		}
	}
	if err := job.CloseStdin(ctx); err != nil {
		log.Fatal(err)
	}
	code, err := job.Wait(ctx)
	fmt.Println(code, err)

	// Output is asked for from an offset on, and tells where to go on.
	for offset, next := int64(0), int64(-1); ; offset = next {
		var data []byte
		if data, next, err = job.Output(ctx, offset, 8); err != nil || len(data) == 0 {
			break
		}
		fmt.Printf("%d: %q\n", offset, data)
	}
	// Output:
	// 4 <nil>
	// 0: "apple\npe"
	// 8: "ar\n"
}

// A job is asked to end with Signal, and made to end with Kill, which finds
// what detached itself, too.
func ExampleJob_Kill() {
	term, err := terminal.New(terminal.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer term.Close()

	ctx := context.Background()
	job, err := term.Start(ctx, terminal.Request{
		Command: "trap 'echo not now' TERM; setsid sleep 100 & echo up; while :; do read line; done",
		Ready:   &terminal.Ready{LogPattern: "up"},
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := job.Signal(ctx, syscall.SIGTERM); err != nil {
		log.Fatal(err)
	}
	if err := job.Kill(ctx); err != nil {
		log.Fatal(err) // something is left
	}
	code, err := job.Wait(ctx)
	fmt.Println(code, err)
	// Output: 137 <nil>
}
