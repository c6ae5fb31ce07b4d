//go:build linux

// This file tests commands on real shells, and on far ends played by the test.

package lane

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/terminal-go/terminal/internal/spawn"
	"golang.org/x/sys/unix"
)

func TestCommandOutputPreservesBytes(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		p := f.start(t)
		got := p.must(t, Command{Script: `printf 'a\0b\377\n\nc'; printf ' d\r' >&2; exit 3`})
		require.Equal(t, ran{Result{ExitCode: 3}, "a\x00b\xff\n\nc", " d\r"}, got)
		require.Equal(t, ran{}, p.must(t, Command{Script: ":"}))
		require.Equal(t, ran{stderr: "x"}, p.must(t, Command{Script: "printf x >&2"}))
	})
}

func TestCommandEqualWritersKeepOrder(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		p := f.start(t)
		var both, want bytes.Buffer
		for i := range 200 {
			fmt.Fprintf(&want, "o%d\ne%d\n", i, i)
		}
		p.must(t, Command{
			Script: "i=0; while [ $i -lt 200 ]; do echo o$i; echo e$i >&2; i=$((i+1)); done",
			Stdout: &both, Stderr: &both,
		})
		require.Equal(t, want.String(), both.String())
		require.Equal(t, "after\n", p.must(t, Command{Script: "echo after"}).stdout)
	})
}

func TestCommandOutputResemblesMark(t *testing.T) {
	random := make([]byte, 100_000)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(random)
	word := string(newWord())
	for name, text := range map[string]string{
		"random":        string(random),
		"another word":  word + "e0 0\n" + word + "s1\n" + word + "\n",
		"half words":    strings.Repeat(word[:20], 1000),
		"only 0x1e":     strings.Repeat("\x1e", 70_000),
		"announcement":  readyText + "\n" + readyText,
		"bootstrap":     bootstrap + bootstrapSource,
		"zeros":         strings.Repeat("\x00", 5000),
		"newlines":      "\n\n\n",
		"begins a mark": "x\x1e",
	} {
		path := filepath.Join(t.TempDir(), "text")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		eachFlavour(t, func(t *testing.T, f flavour) {
			p := f.start(t)
			got := p.must(t, Command{Script: "cat " + path + "; cat " + path + " >&2; exit 7"})
			require.True(t, got == ran{Result{ExitCode: 7}, text, text}, name)
			require.Equal(t, ran{}, p.must(t, Command{Script: "true"}), name)
		})
	}
}

func TestCommandLargeOutputOnBothStreams(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		p := f.start(t)
		got := p.must(t, Command{Script: "head -c 10000000 /dev/zero & head -c 10000000 /dev/zero >&2; wait"})
		require.Len(t, got.stdout, 10_000_000)
		require.Len(t, got.stderr, 10_000_000)
		require.True(t, p.Reusable())
	})
}

func TestCommandScriptUnchanged(t *testing.T) {
	long := "x=$(cat <<'E'\n" + strings.Repeat("0123456789abcde\n", MaxScript/16-10) + "E\n); echo ${#x} $# \"$1\""
	cases := map[string]string{ // script to output
		`echo "a'b" 'c"d' e\'f`:      "a'b c\"d e'f\n",
		"echo a\necho b":             "a\nb\n",
		"cat <<E\n$((1+1)) 'x'\nE\n": "2 'x'\n",
		"echo a # b\n# c":            "a\n",
		"printf '%s' a\\":            "a\\",
		"echo '  \t\n x'":            "  \t\n x\n",
		"echo 'é\xff日'":              "é\xff日\n",
		"echo $#":                    "0\n",
		"set | grep ^lane_":          "",
		"env | grep -i ^lane_":       "",
		long:                         strconv.Itoa(16*(MaxScript/16-10)-1) + " 0 \n",
		"for i in 3 4; do [ ! -e /proc/$$/fd/$i ] || echo $i; done": "",
		"cat":                           "",
		`[ "$0" = "${0##*lane}" ] && :`: "",
	}
	eachFlavour(t, func(t *testing.T, f flavour) {
		p := f.start(t)
		for script, want := range cases {
			got := p.must(t, Command{Script: script})
			require.Equal(t, want, got.stdout, "%.60q: %.200q", script, got.stderr)
			require.Empty(t, got.stderr, "%.60q", script)
		}
		got := p.must(t, Command{Script: "echo 'unbalanced"})
		require.NotZero(t, got.ExitCode)
		require.NotEmpty(t, got.stderr)
		got = p.must(t, Command{Script: "-n; echo $?"})
		require.Equal(t, "127\n", got.stdout)
		require.Equal(t, "ok\n", p.must(t, Command{Script: "echo ok"}).stdout)
	})
}

// A piece may end inside a multibyte character.
func TestCommandLongScriptMultibyte(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		p := f.start(t)
		for shift := range 4 {
			text := strings.Repeat("x", shift) + strings.Repeat("日本", 40_000)
			got := p.must(t, Command{
				Script: "printf %s '" + text + "'",
				Env:    map[string]string{"LC_ALL": "C.UTF-8"},
			})
			require.True(t, text == got.stdout, shift)
		}
	})
}

func TestCommandScriptTooLong(t *testing.T) {
	p := flavours[0].start(t)
	_, err := p.run(t, Command{Script: strings.Repeat("#", MaxScript+1)})
	require.ErrorIs(t, err, ErrNotStarted)
	require.ErrorIs(t, err, syscall.E2BIG)
	got := p.must(t, Command{Script: strings.Repeat("#", MaxScript-10) + "\nexit 9"})
	require.Equal(t, 9, got.ExitCode)
}

func TestCommandInvalidRefused(t *testing.T) {
	p := flavours[0].start(t)
	<-p.Ready()
	for name, c := range map[string]Command{
		"NUL in script": {Script: "a\x00b"},
		"relative dir":  {Dir: "tmp"},
		"NUL in dir":    {Dir: "/\x00"},
		"run id":        {RunID: "a b"},
		"no name":       {Env: map[string]string{"": "x"}},
		"name with =":   {Env: map[string]string{"a=b": "x"}},
		"NUL in value":  {Env: map[string]string{"a": "\x00"}},
	} {
		_, err := p.run(t, c)
		require.ErrorIs(t, err, ErrNotStarted, name)
		require.ErrorIs(t, err, fs.ErrInvalid, name)
	}
	_, err := p.run(t, Command{Env: map[string]string{"A": strings.Repeat("x", 128<<10)}})
	require.ErrorIs(t, err, syscall.E2BIG)
	r := p.Start(Command{Dir: "/"})
	<-r.Done()
	_, err = r.Result()
	require.ErrorIs(t, err, fs.ErrInvalid, "empty run id")
	require.True(t, p.Reusable())
}

func TestCommandEnvironment(t *testing.T) {
	const nasty = "a\n'b' \"c\" $d `e` \\\n\n#\xff "
	env := map[string]string{
		"PLAIN": "x", "NASTY": nasty, "EMPTY": "", "a.b-c": nasty, "1x": "1", "-d": "dash", "%s": "form", "lane_n": "mine", "lane_word": nasty,
		"n": "newline", "LC_ALL": "C.UTF-8", "LANG": "xx_XX", "TMOUT": "1", "FUNCNEST": "1", "ENV": "/nowhere", "OPTIND": "2",
		"PATH": os.Getenv("PATH"), "HOME": "/tmp", "TZ": "UTC", "é": "ü", "SHELLOPTS": "noexec",
	}
	own := map[string]bool{"UID": true, "RANDOM": true, "PPID": true, "BASH_VERSION": true, "IFS": true, "SECONDS": true, "BASHPID": true, "EUID": true, "LINENO": true, "PWD": true}
	delete(env, "SHELLOPTS") // bash would obey
	eachFlavour(t, func(t *testing.T, f flavour) {
		p := f.start(t)
		run := func(env map[string]string) map[string]string {
			script := `tr '\0' '\1' </proc/$$/environ; :`
			got := p.must(t, Command{Script: script, Env: env})
			all := make(map[string]string)
			for _, kv := range strings.Split(strings.TrimSuffix(got.stdout, "\x01"), "\x01") {
				name, value, _ := strings.Cut(kv, "=")
				all[name] = value
			}
			return all
		}
		seen := run(env)
		for name, value := range env {
			if name == "ENV" || !own[name] {
				require.Equal(t, value, seen[name], name)
			}
		}
		bare := run(nil)
		for name := range env {
			if _, ok := os.LookupEnv(name); !ok {
				require.NotContains(t, bare, name)
			}
		}
		special := make(map[string]string)
		for name := range own {
			special[name] = "7"
		}
		seen = run(special)
		for name, value := range special {
			require.Equal(t, value, seen[name], name)
		}
		for name := range bare {
			require.False(t, strings.HasPrefix(name, "lane_"), name)
		}
		require.Equal(t, "/", bare["PWD"])
		require.NotContains(t, bare, "OLDPWD")
		require.Contains(t, bare, spawn.RunIDEnv)
	})
}

func TestCommandLocale(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		const script = `printf '[%s]' "${LC_ALL-none}"`
		require.Equal(t, "[C.UTF-8]", f.start(t, "LC_ALL=C.UTF-8").must(t, Command{Script: script}).stdout)
		require.Equal(t, "[]", f.start(t, "LC_ALL=").must(t, Command{Script: script}).stdout)
		p := f.start(t)
		if _, ok := os.LookupEnv("LC_ALL"); !ok {
			require.Equal(t, "[none]", p.must(t, Command{Script: script}).stdout)
		}
		require.Equal(t, "[POSIX]", p.must(t, Command{Script: script, Env: map[string]string{"LC_ALL": "POSIX"}}).stdout)
	})
}

func TestCommandRunID(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		p := f.start(t)
		require.Equal(t, "abc", p.must(t, Command{Script: "printf %s $" + spawn.RunIDEnv, RunID: "abc"}).stdout)
		env := map[string]string{spawn.RunIDEnv: "outer,abc"}
		require.Equal(t, "outer,abc", p.must(t, Command{Script: "printf %s $" + spawn.RunIDEnv, RunID: "abc", Env: env}).stdout)
	})
}

func TestCommandDir(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	odd := filepath.Join(dir, "a 'b'\n$c\n")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.NoError(t, os.Mkdir(odd, 0o700))
	require.NoError(t, os.Symlink(odd, filepath.Join(dir, "link")))
	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	eachFlavour(t, func(t *testing.T, f flavour) {
		p := f.start(t)
		require.Equal(t, odd+"|", p.must(t, Command{Script: `printf '%s|' "$PWD"`, Dir: odd}).stdout)
		require.Equal(t, odd+"\n", p.must(t, Command{Script: "readlink /proc/self/cwd", Dir: dir + "/link"}).stdout)
		for path, want := range map[string]error{
			dir + "/missing":     syscall.ENOENT,
			dir + "/missing/too": syscall.ENOENT,
			dir + "/dangling":    syscall.ENOENT,
			file:                 syscall.ENOTDIR,
			file + "/below":      syscall.ENOTDIR,
		} {
			got, err := p.run(t, Command{Script: "echo ran", Dir: path})
			require.ErrorIs(t, err, ErrNotStarted)
			require.ErrorIs(t, err, want)
			var pathError *fs.PathError
			require.ErrorAs(t, err, &pathError)
			require.Equal(t, "chdir", pathError.Op)
			require.Equal(t, path, pathError.Path)
			require.Zero(t, got)
			require.True(t, p.Reusable())
		}
	})
}

func TestCommandDirWithoutPermission(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to become somebody else")
	}
	dir, err := os.MkdirTemp("/tmp", "lane") //nolint:usetesting // another user must get through its parents
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	require.NoError(t, os.Mkdir(dir+"/below", 0o755))
	p := startCommand(t, &exec.Cmd{
		Path: "/bin/sh", Args: Argv(""),
		SysProcAttr: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 12345}},
	})
	for _, path := range []string{dir, dir + "/below"} {
		_, err = p.run(t, Command{Dir: path})
		require.ErrorIs(t, err, ErrNotStarted)
		require.ErrorIs(t, err, fs.ErrPermission)
	}
	require.True(t, p.Reusable())
}

func TestCommandStdin(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		text := strings.Repeat("echo this is no request\n", 10_000)
		p := f.start(t)
		got := p.must(t, Command{Script: "cat; exit 4", Stdin: strings.NewReader(text)})
		require.True(t, got == ran{Result{ExitCode: 4}, text, ""})
		require.False(t, p.Reusable())
		<-p.ended

		p = f.start(t)
		p.must(t, Command{Script: ":"})
		got = p.must(t, Command{Script: "head -c 3", Stdin: strings.NewReader(text)})
		require.Equal(t, "ech", got.stdout)
		require.False(t, p.Reusable())
		_, err := p.run(t, Command{Script: "echo no"})
		require.ErrorIs(t, err, ErrNotStarted)
		<-p.ended
	})
}

func TestCommandStdinBlocked(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		r, w := io.Pipe()
		defer w.Close()
		p := f.start(t)
		require.Equal(t, 5, p.must(t, Command{Script: "exit 5", Stdin: r}).ExitCode)
		<-p.ended
	})
}

func TestCommandStdinUnreadIfNotStarted(t *testing.T) {
	p := flavours[0].start(t)
	in := strings.NewReader("keep")
	_, err := p.run(t, Command{Script: "cat", Dir: "/missing", Stdin: in})
	require.ErrorIs(t, err, ErrNotStarted)
	require.Equal(t, 4, in.Len())
}

func TestRunPidLeadsSession(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		for _, stdin := range []io.Reader{nil, strings.NewReader("")} {
			p := f.start(t)
			r, w := io.Pipe()
			run := p.Start(Command{Script: "read -r a b c d e f g </proc/$$/stat; echo $$ $f; exec sleep 1000", Dir: "/", RunID: newRunID(), Stdout: w, Stdin: stdin})
			var pid, session int
			_, err := fmt.Fscan(r, &pid, &session)
			require.NoError(t, err)
			require.Equal(t, pid, run.Pid())
			require.Equal(t, pid, session)
			require.NotZero(t, pid)
			require.NoError(t, syscall.Kill(-pid, syscall.SIGKILL))
			<-run.Done()
			result, err := run.Result()
			require.NoError(t, err)
			require.Equal(t, Result{ExitCode: 137}, result)
		}
	})
}

func TestResultSurvivors(t *testing.T) {
	scripts := map[string]string{
		"child":             "sleep 30 & echo $!",
		"setsid":            "setsid sleep 30 & echo $!",
		"closed output":     "setsid sleep 30 >/dev/null 2>&1 & echo $!",
		"double fork":       "(setsid sh -c 'echo $$; exec sleep 30' &)",
		"in the middle":     "sh -c 'exec sh -c \"exec sleep 30\"' >/dev/null 2>&1 & echo $!",
		"after many others": "for i in 1 2 3 4 5 6 7 8 9; do (:); done; sleep 30 & echo $!; for i in 1 2 3 4 5; do (:); done",
	}
	eachFlavour(t, func(t *testing.T, f flavour) {
		for name, script := range scripts {
			p := f.start(t)
			p.must(t, Command{Script: ":"})
			got := p.must(t, Command{Script: script})
			require.True(t, got.Survivors, name)
			require.False(t, p.Reusable(), name)
			killPrinted(t, got.stdout)
		}
	})
}

// killPrinted kills the processes whose pids a command printed.
func killPrinted(t *testing.T, text string) {
	t.Helper()
	for _, field := range strings.Fields(text) {
		pid, err := strconv.Atoi(field)
		require.NoError(t, err)
		require.Greater(t, pid, 1)
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

func TestLaneReusablePipesHeldWithoutRunID(t *testing.T) {
	const until = ` </dev/null & echo $!; until [ "$(tr -d '\0' </proc/$!/environ)" = A=b ]; do :; done`
	eachFlavour(t, func(t *testing.T, f flavour) {
		for redirect, holds := range map[string]bool{"2>/dev/null": true, ">/dev/null": true, ">/dev/null 2>&1": false} {
			p := f.start(t)
			got := p.must(t, Command{Script: "env -i A=b setsid sleep 30 " + redirect + until})
			require.False(t, got.Survivors)
			require.Equal(t, !holds, p.Reusable(), redirect)
			killPrinted(t, got.stdout)
			<-p.closed(t)
		}
	})
}

func (p *shellProcess) closed(t *testing.T) <-chan struct{} {
	t.Helper()
	require.NoError(t, p.Close())
	return p.ended
}

func TestResultSurvivorsZombies(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		p := f.start(t)
		for range 20 {
			got := p.must(t, Command{Script: "for i in 1 2 3; do sh -c : & done; wait; (sh -c : &) ; yes | head -c 100 >/dev/null; sleep 0.01"})
			require.False(t, got.Survivors)
		}
	})
}

func TestRunSurvivorOutputDrained(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		p := f.start(t)
		fifo := filepath.Join(t.TempDir(), "fifo")
		require.NoError(t, syscall.Mkfifo(fifo, 0o600))
		var stdout lockedBuffer
		r := p.Start(Command{
			Script: "(sleep 0.05; echo soon; read x <" + fifo + "; head -c 1000000 /dev/zero; echo wrote >" + fifo + ") & echo now",
			Dir:    "/", RunID: newRunID(), Stdout: &stdout,
		})
		<-r.Done()
		result, err := r.Result()
		require.NoError(t, err)
		require.True(t, result.Survivors)
		require.Equal(t, "now\nsoon\n", stdout.String())

		// The survivor is neither blocked by a full pipe nor killed by a closed one.
		require.NoError(t, os.WriteFile(fifo, []byte("go\n"), 0))
		text, err := os.ReadFile(fifo)
		require.NoError(t, err)
		require.Equal(t, "wrote\n", string(text))
		require.Equal(t, "now\nsoon\n", stdout.String())
	})
}

func TestRunDrainBounded(t *testing.T) {
	p := flavours[0].start(t)
	began := time.Now()
	got := p.must(t, Command{Script: "while :; do echo x >&2; sleep 0.02; done & echo $!"})
	require.True(t, got.Survivors)
	require.InDelta(t, 1, time.Since(began).Seconds(), 0.5)
	require.Greater(t, len(got.stderr), 10)
	killPrinted(t, got.stdout)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestLaneThousandCommands(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		p := f.start(t)
		n := 1000
		if testing.Short() {
			n = 50
		}
		for i := range n {
			got := p.must(t, Command{Script: fmt.Sprintf("echo %d; echo %d >&2; exit %d", i, -i, i%256), Env: map[string]string{"N": strconv.Itoa(i / 10)}})
			require.Equal(t, ran{Result{ExitCode: i % 256}, fmt.Sprintln(i), fmt.Sprintln(-i)}, got)
			require.True(t, p.Reusable(), i)
		}
	})
}

// A killed standby may have read part of the line; the command has not started then.
func TestLaneStandbyKilled(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		p := f.start(t)
		killed := func(c Command) ran {
			for _, pid := range childrenOf(t, p.cmd.Process.Pid) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			got, err := p.run(t, c)
			if err == nil {
				return got
			}
			require.ErrorIs(t, err, ErrNotStarted)
			return p.must(t, c)
		}
		p.must(t, Command{Script: ":", Env: map[string]string{"A": "0"}})
		for i := range 6 {
			env := map[string]string{"A": strconv.Itoa(i / 2)}
			require.Equal(t, env["A"], killed(Command{Script: "printf %s $A", Env: env}).stdout)
		}
		got := killed(Command{Script: "printf $A; cat", Env: map[string]string{"A": "2"}, Stdin: strings.NewReader("text\n")})
		require.Equal(t, "2text\n", got.stdout)
		<-p.ended
	})
}

func childrenOf(t *testing.T, pid int) (pids []int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	require.NoError(t, err)
	for _, field := range strings.Fields(string(text)) {
		child, err := strconv.Atoi(field)
		require.NoError(t, err)
		pids = append(pids, child)
	}
	return pids
}

func TestLaneWithoutSetsidOrBash(t *testing.T) {
	bin := t.TempDir()
	for _, name := range []string{"cat", "sleep"} {
		path, err := exec.LookPath(name)
		require.NoError(t, err)
		require.NoError(t, os.Symlink(path, bin+"/"+name))
	}
	for _, sh := range []string{"dash", "bash", "busybox"} {
		t.Run(sh, func(t *testing.T) {
			path, err := exec.LookPath(sh)
			if err != nil {
				t.Skip(err)
			}
			dir := t.TempDir()
			require.NoError(t, os.Symlink(path, dir+"/sh"))
			argv := Argv("")
			argv[0] = dir + "/sh"
			p := startLane(t, argv, "PATH="+dir+":"+bin)
			for range 3 {
				got := p.must(t, Command{Script: "echo $A; exit 6", Env: map[string]string{"A": "1"}})
				require.Equal(t, ran{Result{ExitCode: 6}, "1\n", ""}, got)
			}
			require.Equal(t, "in", p.must(t, Command{Script: "cat", Stdin: strings.NewReader("in")}).stdout)
		})
	}
}

func TestCommandShellMissing(t *testing.T) {
	argv := Argv("/no/such/shell")
	p := startLane(t, argv)
	got := p.must(t, Command{Script: "echo x"})
	require.Equal(t, 127, got.ExitCode)
	require.NotEmpty(t, got.stderr)
}

func TestLaneShellKilledDuringCommand(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		p := f.start(t)
		r, w := io.Pipe()
		run := p.Start(Command{Script: "echo up; exec sleep 30", Dir: "/", RunID: newRunID(), Stdout: w})
		_, err := fmt.Fscanln(r, new(string))
		require.NoError(t, err)
		require.NoError(t, p.cmd.Process.Kill())
		require.NoError(t, syscall.Kill(run.Pid(), syscall.SIGKILL))
		<-run.Done()
		_, err = run.Result()
		require.ErrorIs(t, err, ErrBroken)
		require.NotErrorIs(t, err, ErrNotStarted)
		require.ErrorIs(t, p.Err(), ErrBroken)
		require.False(t, p.Reusable())
		_, err = p.run(t, Command{})
		require.ErrorIs(t, err, ErrNotStarted)
		require.ErrorIs(t, err, ErrBroken)
	})
}

func TestLaneStartBusy(t *testing.T) {
	p := flavours[0].start(t)
	r, w := io.Pipe()
	first := p.Start(Command{Script: "echo up; exec sleep 30", Dir: "/", RunID: newRunID(), Stdout: w})
	_, err := p.run(t, Command{Script: "echo second"})
	require.ErrorIs(t, err, ErrNotStarted)
	_, err = fmt.Fscanln(r, new(string))
	require.NoError(t, err)
	_, err = first.Result()
	require.Error(t, err)
	require.False(t, p.Reusable())
	require.NoError(t, syscall.Kill(first.Pid(), syscall.SIGTERM))
	<-first.Done()
	require.True(t, p.Reusable())
}

func TestLaneCloseDuringCommand(t *testing.T) {
	p := flavours[0].start(t)
	r, w := io.Pipe()
	run := p.Start(Command{Script: "echo up; sleep 0.2; exit 8", Dir: "/", RunID: newRunID(), Stdout: w})
	_, err := fmt.Fscanln(r, new(string))
	require.NoError(t, err)
	require.NoError(t, p.Close())
	require.NoError(t, p.Close())
	<-run.Done()
	result, err := run.Result()
	require.NoError(t, err)
	require.Equal(t, 8, result.ExitCode)
	require.ErrorIs(t, p.Err(), ErrClosed)
	_, err = p.run(t, Command{})
	require.ErrorIs(t, err, ErrNotStarted)
	require.ErrorIs(t, err, ErrClosed)
	<-p.ended
}

// farEnd is a lane whose shell is played by the test.
type farEnd struct {
	*Lane
	stdin *io.PipeReader
}

func newFarEnd() farEnd {
	r, w := io.Pipe()
	return farEnd{New(w), r}
}

func (e farEnd) start() *Run {
	return e.Start(Command{Script: "true", Dir: "/", RunID: "id", Stdout: io.Discard})
}

// startPlayed starts a command on a farEnd and returns the word of its marks.
func startPlayed(t *testing.T) (e farEnd, r *Run, word string) {
	t.Helper()
	e = newFarEnd()
	r = e.start()
	fmt.Fprint(e.Stdout(), readyText+"\n")
	return e, r, readLines(t, e.stdin)
}

var errCut = errors.New("cut")

func TestLaneBroken(t *testing.T) {
	result := func(r *Run) error {
		<-r.Done()
		_, err := r.Result()
		return err
	}
	t.Run("before the announcement", func(t *testing.T) {
		e := newFarEnd()
		r := e.start()
		fmt.Fprint(e.Stdout(), "exec: \"sh\": ")
		fmt.Fprint(e.Stderr(), "not found\n")
		e.Broken(errCut)
		err := result(r)
		require.ErrorIs(t, err, ErrNotStarted)
		require.ErrorIs(t, err, errCut)
		require.ErrorContains(t, err, `exec: \"sh\": not found`)
		<-e.Ready()
		require.ErrorIs(t, e.Err(), errCut)
	})
	t.Run("in the middle of the line", func(t *testing.T) {
		e := newFarEnd()
		r := e.start()
		fmt.Fprint(e.Stdout(), readyText+"\n")
		_, err := io.ReadFull(e.stdin, make([]byte, len(bootstrap)+150))
		require.NoError(t, err)
		e.Broken(nil)
		err = result(r)
		require.ErrorIs(t, err, ErrNotStarted)
		require.ErrorIs(t, err, io.EOF)
	})
	t.Run("by a write that fails", func(t *testing.T) {
		e := newFarEnd()
		r := e.start()
		fmt.Fprint(e.Stdout(), readyText+"\n")
		e.stdin.CloseWithError(errCut)
		err := result(r)
		require.ErrorIs(t, err, ErrNotStarted)
		require.ErrorIs(t, err, errCut)
		require.ErrorIs(t, e.Err(), ErrBroken)
	})
	t.Run("after the lines", func(t *testing.T) {
		e, r, _ := startPlayed(t)
		e.Broken(errCut)
		err := result(r)
		require.ErrorIs(t, err, ErrBroken)
		require.ErrorIs(t, err, errCut)
		require.NotErrorIs(t, err, ErrNotStarted)
	})
	t.Run("between the two end marks", func(t *testing.T) {
		e, r, word := startPlayed(t)
		fmt.Fprintf(e.Stdout(), "\x1e%ss12\nout\x1e%se0 0\n", word, word)
		e.Broken(nil)
		require.ErrorIs(t, result(r), ErrBroken)
		require.Equal(t, 12, r.Pid())
	})
	t.Run("after a refusal", func(t *testing.T) {
		e, r, word := startPlayed(t)
		fmt.Fprintf(e.Stdout(), "\x1e%sne\n", word)
		e.Broken(nil)
		err := result(r)
		require.ErrorIs(t, err, ErrNotStarted)
		require.ErrorIs(t, err, fs.ErrNotExist)
	})
	t.Run("while survivors are waited for", func(t *testing.T) {
		e, r, word := startPlayed(t)
		fmt.Fprintf(e.Stdout(), "\x1e%ss12\nout\x1e%se3 2\n", word, word)
		fmt.Fprintf(e.Stderr(), "\x1e%s\n", word)
		e.Broken(errCut)
		require.NoError(t, result(r))
		got, _ := r.Result()
		require.Equal(t, Result{ExitCode: 3, Survivors: true}, got)
	})
	t.Run("by a fork that died", func(t *testing.T) {
		e, r, word := startPlayed(t)
		fmt.Fprintf(e.Stdout(), "\x1e%se137 0\n", word)
		fmt.Fprintf(e.Stderr(), "\x1e%s\n", word)
		require.ErrorIs(t, result(r), ErrNotStarted)
		require.True(t, e.Reusable())
		require.NoError(t, e.Close())
	})
	t.Run("by nonsense", func(t *testing.T) {
		e, r, word := startPlayed(t)
		fmt.Fprintf(e.Stdout(), "\x1e%s?\n", word)
		require.ErrorIs(t, result(r), ErrBroken)
		require.NoError(t, e.Close())
	})
}

// readLines reads the bootstrap and a request, and returns its word.
func readLines(t *testing.T, r io.Reader) string {
	t.Helper()
	var text []byte
	for one := make([]byte, 1); !strings.HasSuffix(string(text), "\n") || !strings.Contains(string(text), "lane_more\n") || strings.HasSuffix(string(text), "lane_more\n"); {
		_, err := r.Read(one)
		require.NoError(t, err)
		text = append(text, one...)
	}
	_, rest, ok := strings.Cut(string(text), ";lane_run ")
	require.True(t, ok)
	return rest[:32]
}

func TestLaneOutputOutsideMarksDiscarded(t *testing.T) {
	e := newFarEnd()
	var stdout, stderr bytes.Buffer
	fmt.Fprint(e.Stdout(), readyText+"\nstray")
	fmt.Fprint(e.Stderr(), "stray")
	r := e.Start(Command{Dir: "/", RunID: "id", Stdout: &stdout, Stderr: &stderr})
	word := readLines(t, e.stdin)
	fmt.Fprintf(e.Stdout(), "stray\x1e%ss12\nout\x1e%se3 0\nstray", word, word)
	fmt.Fprintf(e.Stderr(), "err\x1e%s\nstray", word)
	<-r.Done()
	require.Equal(t, "out", stdout.String())
	require.Equal(t, "err", stderr.String())
	require.True(t, e.Reusable())
	require.NoError(t, e.Close())
}

// Done waits for a writer that is still in use.
func TestRunWriterUnusedAfterDone(t *testing.T) {
	e := newFarEnd()
	entered, leave := make(chan struct{}), make(chan struct{})
	r := e.Start(Command{Dir: "/", RunID: "id", Stdout: writerFunc(func(p []byte) (int, error) {
		close(entered)
		<-leave
		return len(p), nil
	})})
	fmt.Fprint(e.Stdout(), readyText+"\n")
	word := readLines(t, e.stdin)
	written := make(chan struct{})
	go func() {
		defer close(written)
		fmt.Fprintf(e.Stdout(), "\x1e%ss12\nout", word)
		fmt.Fprint(e.Stdout(), "more")
	}()
	<-entered
	e.Broken(nil)
	select {
	case <-r.Done():
		t.Fatal("done while its writer is in use")
	default:
	}
	close(leave)
	<-r.Done()
	<-written
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestRunWriterFails(t *testing.T) {
	p := flavours[0].start(t)
	calls := 0
	got := p.must(t, Command{Script: "head -c 1000000 /dev/zero; exit 2", Stdout: writerFunc(func([]byte) (int, error) {
		calls++
		return 0, errCut
	})})
	require.Equal(t, 2, got.ExitCode)
	require.Equal(t, 1, calls)
	require.True(t, p.Reusable())
}

// splitWriter writes up to HALF, waits until that was read, and calls between before
// it writes the rest.
type splitWriter struct {
	*os.File
	between func()
}

func (h *splitWriter) WriteString(s string) (int, error) {
	half := strings.Index(s, "HALF")
	if half < 0 {
		return h.File.WriteString(s)
	}
	if n, err := h.File.WriteString(s[:half]); err != nil {
		return n, err
	}
	for unread := 1; unread > 0; {
		unread, _ = unix.IoctlGetInt(int(h.Fd()), unix.TIOCINQ)
	}
	h.between()
	n, err := h.File.WriteString(s[half:])
	return half + n, err
}

func (h *splitWriter) Write(p []byte) (int, error) { return h.WriteString(string(p)) }

func TestLaneSplitLineNotRun(t *testing.T) {
	eachFlavour(t, func(t *testing.T, f flavour) {
		p := f.start(t)
		p.must(t, Command{Script: ":"})
		file := filepath.Join(t.TempDir(), "file")
		stdin, ok := p.Lane.stdin.(interface{ Fd() uintptr })
		require.True(t, ok)
		fd, err := unix.Dup(int(stdin.Fd()))
		require.NoError(t, err)
		own := p.Lane.stdin
		other := os.NewFile(uintptr(fd), "stdin")
		p.Lane.stdin = &splitWriter{other, func() {
			for _, pid := range childrenOf(t, p.cmd.Process.Pid) {
				require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
			}
		}}
		_, err = p.run(t, Command{Script: "HALF; touch " + file + "\ntouch " + file})
		require.ErrorIs(t, err, ErrNotStarted)
		require.NoFileExists(t, file)
		p.Lane.stdin = own
		require.NoError(t, other.Close())
		require.True(t, p.Reusable())
		require.Equal(t, "fine\n", p.must(t, Command{Script: "echo fine"}).stdout)
	})
}
