package terminaltest_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/terminaltest"
)

// open returns an executor of the fake that is closed with the test.
func open(t *testing.T, f *terminaltest.Fake) terminal.Executor {
	t.Helper()
	ex, err := f.Open(t.Context(), "task")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ex.Close(context.Background()) })
	return ex
}

// execute runs a script and returns its exit code, its output and the error.
func execute(t *testing.T, ex terminal.Executor, script string) (code int, stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	code, err = ex.Exec(t.Context(), terminal.Command{Script: script, Dir: "/", Stdout: &out, Stderr: &errs})
	return code, out.String(), errs.String(), err
}

// A reply is what the command writes and returns.
func TestFakeReply(t *testing.T) {
	var fake terminaltest.Fake
	fake.Reply("go test ./...", terminaltest.Reply{Output: "FAIL\n", Stderr: "exit 1\n", ExitCode: 1})
	code, out, errs, err := execute(t, open(t, &fake), "go test ./...")
	require.NoError(t, err)
	require.Equal(t, 1, code)
	require.Equal(t, "FAIL\n", out)
	require.Equal(t, "exit 1\n", errs)
}

// A command without a reply ends with code 127, and stderr says why.
func TestFakeWithoutReply(t *testing.T) {
	code, out, errs, err := execute(t, open(t, new(terminaltest.Fake)), "ls -l")
	require.NoError(t, err)
	require.Equal(t, 127, code)
	require.Empty(t, out)
	require.Contains(t, errs, "no reply")
	require.Contains(t, errs, "ls -l")
}

// Replies are used in order, and the last one is repeated.
func TestFakeReplyOrder(t *testing.T) {
	var fake terminaltest.Fake
	fake.Reply("make", terminaltest.Reply{ExitCode: 2}, terminaltest.Reply{ExitCode: 1})
	fake.Reply("make", terminaltest.Reply{})
	ex := open(t, &fake)
	for _, want := range []int{2, 1, 0, 0} {
		code, _, _, err := execute(t, ex, "make")
		require.NoError(t, err)
		require.Equal(t, want, code)
	}
}

// The first rule that matches a command answers it.
func TestFakeFirstMatchingRule(t *testing.T) {
	var fake terminaltest.Fake
	git := func(c terminal.Command) bool { return strings.HasPrefix(c.Script, "git ") }
	fake.ReplyFunc(git, terminaltest.Reply{Output: "git\n"})
	fake.Reply("git push", terminaltest.Reply{Output: "never\n"})
	fake.Reply("true")
	_, out, _, err := execute(t, open(t, &fake), "git push")
	require.NoError(t, err)
	require.Equal(t, "git\n", out)
	code, _, _, err := execute(t, open(t, &fake), "true")
	require.NoError(t, err)
	require.Zero(t, code)
}

// Calls records each command with its input, and Opened and Closed count the
// executors.
func TestFakeCalls(t *testing.T) {
	var fake terminaltest.Fake
	fake.Reply("cat", terminaltest.Reply{})
	term, err := terminal.New(terminal.Config{Backend: &fake, Env: map[string]string{"A": "1"}})
	require.NoError(t, err)
	_, err = term.Run(t.Context(), terminal.Request{Command: "cat", Task: "one", Dir: "/work", Stdin: strings.NewReader("input")})
	require.NoError(t, err)
	require.Equal(t, 1, fake.Opened())
	require.Zero(t, fake.Closed())
	require.NoError(t, term.Close())
	require.Equal(t, 1, fake.Closed())

	calls := fake.Calls()
	require.Len(t, calls, 1)
	require.Equal(t, "one", calls[0].Task)
	require.Equal(t, "cat", calls[0].Script)
	require.Equal(t, "/work", calls[0].Dir)
	require.Equal(t, "1", calls[0].Env["A"])
	require.Equal(t, "input", calls[0].Stdin)
	require.False(t, calls[0].At.IsZero())
	calls[0].Env["A"] = "changed"
	require.Equal(t, "1", fake.Calls()[0].Env["A"], "Calls must return a copy")
}

// A delay ends at the timeout of the command and keeps the output so far.
func TestFakeDelayTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fake terminaltest.Fake
		fake.Reply("slow", terminaltest.Reply{Output: "so far\n", Delay: time.Hour})
		term, err := terminal.New(terminal.Config{Backend: &fake})
		require.NoError(t, err)
		defer term.Close()
		start := time.Now()
		res, err := term.Run(t.Context(), terminal.Request{Command: "slow"})
		require.ErrorIs(t, err, terminal.ErrTimeout)
		require.Equal(t, time.Minute, time.Since(start))
		require.Equal(t, "so far\n", res.Output)
		require.Equal(t, 124, res.ExitCode)
		require.Len(t, fake.Calls(), 1, "there are no processes to look for")
	})
}

// OpenDelay and Delay pass in full.
func TestFakeDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := terminaltest.Fake{OpenDelay: time.Minute}
		fake.Reply("slow", terminaltest.Reply{Delay: time.Hour, ExitCode: 3})
		start := time.Now()
		code, _, _, err := execute(t, open(t, &fake), "slow")
		require.NoError(t, err)
		require.Equal(t, 3, code)
		require.Equal(t, time.Hour+time.Minute, time.Since(start))
	})
}

// Close ends a delay with ErrClosed.
func TestFakeCloseDuringDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fake terminaltest.Fake
		fake.Reply("slow", terminaltest.Reply{Delay: time.Hour})
		ex := open(t, &fake)
		done := make(chan error, 1)
		go func() {
			_, err := ex.Exec(t.Context(), terminal.Command{Script: "slow"})
			done <- err
		}()
		synctest.Wait()
		require.NoError(t, ex.Close(t.Context()))
		require.ErrorIs(t, <-done, terminal.ErrClosed)
		_, err := ex.Exec(t.Context(), terminal.Command{Script: "slow"})
		require.ErrorIs(t, err, terminal.ErrClosed)
		require.NoError(t, ex.Close(t.Context()))
		require.Equal(t, 1, fake.Closed())
	})
}

func TestFakeOpenDelayContextDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := terminaltest.Fake{OpenDelay: time.Hour}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := fake.Open(ctx, "task")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Zero(t, fake.Opened())
	})
}

// OpenErr, Reply.Err and CloseErr are returned as they are.
func TestFakeErrors(t *testing.T) {
	errOpen, errExec, errClose := errors.New("open"), errors.New("exec"), errors.New("close")
	_, err := (&terminaltest.Fake{OpenErr: errOpen}).Open(t.Context(), "task")
	require.ErrorIs(t, err, errOpen)

	fake := terminaltest.Fake{CloseErr: errClose}
	fake.Reply("x", terminaltest.Reply{Err: errExec})
	ex := open(t, &fake)
	_, _, _, err = execute(t, ex, "x")
	require.ErrorIs(t, err, errExec)
	require.ErrorIs(t, ex.Close(t.Context()), errClose)
	require.Equal(t, 1, fake.Closed())
}

// In front of a real backend a reply injects a failure, and commands without a
// reply run there.
func TestFakeNextAfterFailure(t *testing.T) {
	fake := terminaltest.Fake{Next: terminal.Local{}}
	fake.Reply("echo real", terminaltest.Reply{Err: terminal.ErrGone}, terminaltest.Reply{Output: "first ", Next: true})
	ex := open(t, &fake)
	_, _, _, err := execute(t, ex, "echo real")
	require.ErrorIs(t, err, terminal.ErrGone)
	_, out, _, err := execute(t, ex, "echo real")
	require.NoError(t, err)
	require.Equal(t, "first real\n", out)
	_, out, _, err = execute(t, ex, "echo other")
	require.NoError(t, err)
	require.Equal(t, "other\n", out)
	require.Len(t, fake.Calls(), 3)
}

func TestFakeConcurrentUse(t *testing.T) {
	var fake terminaltest.Fake
	ex := open(t, &fake)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			fake.Reply("x", terminaltest.Reply{})
			_, _ = ex.Exec(t.Context(), terminal.Command{Script: "x", Stdin: strings.NewReader("in")})
			_, _, _ = fake.Calls(), fake.Opened(), fake.Closed()
		})
	}
	wg.Wait()
	require.Len(t, fake.Calls(), 16)
}

// A Fake without Next has no processes and says so, so that Run skips with the
// reason.
func TestFakeLacks(t *testing.T) {
	var fake terminaltest.Fake
	require.NotEmpty(t, fake.Lacks("a command runs exactly once"))
	fake.Next = terminal.Local{}
	require.Empty(t, fake.Lacks("a command runs exactly once"))
}
