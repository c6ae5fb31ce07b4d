// Command modalfake serves a fake Modal on this machine until it is
// interrupted, so that programs made for Modal run without an account:
//
//	go run ./internal/modalfake/cmd/modalfake >modal.env &
//	. ./modal.env && TERMINAL_ENV=modal go run ./examples/quickstart
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/terminal-go/terminal/internal/modalfake"
)

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "modalfake:", err)
		os.Exit(1)
	}
}

func serve() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	s, err := modalfake.Start(modalfake.Options{})
	if err != nil {
		return err
	}
	for _, kv := range s.Environ() {
		name, value, _ := strings.Cut(kv, "=")
		fmt.Printf("export %s='%s'\n", name, value)
	}
	fmt.Fprintln(os.Stderr, "modalfake: serving until interrupted")
	<-ctx.Done()
	err = s.Close()
	n := s.Stats()
	fmt.Fprintf(os.Stderr, "modalfake: %d sandboxes, %d execs, %d calls; %d sandboxes and %d processes left\n",
		n.Created, n.ExecsStarted, n.Calls(), n.Alive, n.Processes)
	return err
}
