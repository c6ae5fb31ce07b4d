// Server shows what half of an agent's work is: it starts a web server in the
// background, is told when that answers, calls it, reads its log, and ends it.
// The calls are the JSON that a model would send.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/terminal-go/terminal"
)

// program is the server, as the agent may have written it.
const program = `package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		log.Printf("%s %s", r.Method, r.URL.Path)
		fmt.Fprintf(w, "hello from %s\n", r.URL.Path)
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
`

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	dir, err := os.MkdirTemp("", "server-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for name, text := range map[string]string{"go.mod": "module server\n\ngo 1.25\n", "main.go": program} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			return err
		}
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	term, err := terminal.New(terminal.Config{Dir: dir})
	if err != nil {
		return err
	}
	defer term.Close()
	tools := make(map[string]terminal.Tool)
	for _, tool := range term.Tools() {
		tools[tool.Name] = tool
	}
	call := func(tool string, args map[string]any) (answer terminal.Result, err error) {
		in, _ := json.Marshal(args) // strings, numbers and booleans
		out := tools[tool].Call(context.Background(), in)
		fmt.Printf("%s %s\n  %s\n\n", tool, in, out)
		err = json.Unmarshal(out, &answer)
		if err == nil && answer.Error != "" {
			err = fmt.Errorf("%s: %s", tool, answer.Error)
		}
		return answer, err
	}

	if _, err := call("terminal", map[string]any{"command": "go build -o server .", "timeout": 300}); err != nil {
		return err
	}
	started, err := call("terminal", map[string]any{
		"command": fmt.Sprintf("echo starting; ./server %d", port), "background": true, "ready_port": port,
	})
	if err != nil {
		return err
	}
	conn, err := call("terminal", map[string]any{
		"command": fmt.Sprintf(`exec 3<>/dev/tcp/127.0.0.1/%d; printf 'GET /agent HTTP/1.0\r\n\r\n' >&3; cat <&3`, port),
	})
	if err != nil {
		return err
	}
	if !strings.Contains(conn.Output, "hello from /agent") {
		return fmt.Errorf("the server said %q", conn.Output)
	}
	job := map[string]any{"job_id": started.JobID}
	for _, action := range []string{"log", "kill", "poll"} {
		job["action"] = action
		if _, err := call("process", job); err != nil {
			return err
		}
	}
	return nil
}

// freePort returns a port that was free a moment ago.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
