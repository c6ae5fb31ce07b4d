// A command: its shell, its pipes, its end.

package local

import (
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/terminal-go/terminal/internal/capture"
	"github.com/terminal-go/terminal/internal/spawn"
)

// A process is one running command: its shell, and the pipes to it.
type process struct {
	cmd    *exec.Cmd
	began  time.Time
	runID  string
	exited chan struct{} // closed when the shell has exited, before it is reaped
	pumps  []*pump
	stdin  *os.File // our end, nil if there is none
	seen   members  // its living processes when last looked for
}

// start starts the command's shell, with pipes of our own: those of os/exec
// would make its end wait for whoever else holds them.
func (x *Executor) start(c spawn.Command) (_ *process, err error) {
	p := &process{runID: c.Env[spawn.RunIDEnv], began: time.Now(), exited: make(chan struct{})}
	if p.runID == "" {
		p.runID = spawn.NewRunID()
	}
	cmd := exec.Command(x.shell, "-c", "--", c.Script) // a script may begin with a dash
	p.cmd = cmd
	cmd.Dir = c.Dir
	cmd.Env = x.environ(c, p.runID)
	cmd.SysProcAttr = sysProcAttr()

	var theirs []*os.File // the command's ends of the pipes
	defer func() {
		for _, f := range theirs {
			_ = f.Close()
		}
		if err != nil {
			p.closePipes()
		}
	}()
	output := func(w io.Writer) (*os.File, error) {
		r, f, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		theirs = append(theirs, f)
		p.pumps = append(p.pumps, newPump(r, w))
		return f, nil
	}
	if c.Stdout != nil {
		if cmd.Stdout, err = output(c.Stdout); err != nil {
			return nil, err
		}
	}
	switch {
	case c.Stderr == nil:
	case capture.Same(c.Stdout, c.Stderr):
		cmd.Stderr = cmd.Stdout
	default:
		if cmd.Stderr, err = output(c.Stderr); err != nil {
			return nil, err
		}
	}
	var feed *os.File
	if f, ok := c.Stdin.(*os.File); ok {
		cmd.Stdin = f
	} else if c.Stdin != nil {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		theirs = append(theirs, r)
		cmd.Stdin, p.stdin, feed = r, w, w
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go p.watch()
	for _, pump := range p.pumps {
		x.pump(pump)
	}
	if feed != nil {
		go func() { // ends with the reader, or at the first write after the command's end
			_, _ = io.Copy(feed, c.Stdin)
			_ = feed.Close()
		}()
	}
	return p, nil
}

func (p *process) closePipes() {
	for _, pump := range p.pumps {
		_ = pump.r.Close()
	}
	if p.stdin != nil {
		_ = p.stdin.Close()
	}
}

// environ is the host's environment under the command's own. The run ids of a
// Terminal around this process stay in front, so that it finds our processes.
func (x *Executor) environ(c spawn.Command, runID string) []string {
	env := spawn.MergeEnv(x.env, c.Env)
	env["PWD"] = c.Dir
	env[spawn.RunIDEnv] = x.id + "," + runID
	if outer := x.env[spawn.RunIDEnv]; outer != "" {
		env[spawn.RunIDEnv] = outer + "," + env[spawn.RunIDEnv]
	}
	list := make([]string, 0, len(env))
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	return list
}

// reap collects the exited shell and returns its code.
func (p *process) reap() int {
	_ = p.cmd.Wait() // no goroutines of os/exec to wait for: all files are ours
	if p.stdin != nil {
		_ = p.stdin.Close()
	}
	return exitCode(p.cmd.ProcessState)
}

// drain returns when everything written before the exit has been passed on. Only
// a writer that blocks ends it earlier.
func (p *process) drain() {
	for _, pump := range p.pumps {
		pump.exit()
	}
	for _, pump := range p.pumps {
		capture.Drain(pump.drained, !pump.interruptible, pump.w)
	}
}
