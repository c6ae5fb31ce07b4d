//go:build !terminal_nodocker

package terminal_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cpuguy83/dockercfg"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/terminal-go/terminal"
	"github.com/terminal-go/terminal/internal/fakedocker"
)

// dockerConfig makes the docker command's configuration an empty directory
// and unsets the variables that name a daemon.
func dockerConfig(t *testing.T) (dir string) {
	t.Helper()
	for _, name := range []string{"DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "DOCKER_API_VERSION", "XDG_RUNTIME_DIR"} {
		t.Setenv(name, "")
	}
	dir = t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	return dir
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o755))
}

// dockerContext adds a context to the configuration.
func dockerContext(t *testing.T, config, name, meta string) (keys string) {
	t.Helper()
	hash := sha256.Sum256([]byte(name))
	dir := hex.EncodeToString(hash[:])
	writeFile(t, filepath.Join(config, "contexts", "meta", dir, "meta.json"), meta)
	return filepath.Join(config, "contexts", "tls", dir, "docker")
}

func endpoint(host string) string {
	return fmt.Sprintf(`{"Name":"x","Metadata":{},"Endpoints":{"docker":{"Host":%q,"SkipTLSVerify":false}}}`, host)
}

func checkDocker(t *testing.T, d terminal.Docker) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := d.Check(ctx)
	require.NoError(t, ctx.Err(), "took too long: %v", err)
	return err
}

// isUnavailable asserts the sentinel and the words that a person needs.
func isUnavailable(t *testing.T, err error, words ...string) {
	t.Helper()
	require.ErrorIs(t, err, terminal.ErrUnavailable)
	for _, word := range words {
		assert.ErrorContains(t, err, word)
	}
}

func TestDockerIsFound(t *testing.T) {
	found := map[string]func(t *testing.T, config, host string) terminal.Docker{
		"by Docker.Host": func(t *testing.T, _, host string) terminal.Docker {
			t.Setenv("DOCKER_HOST", "tcp://localhost:1")
			return terminal.Docker{Host: host}
		},
		"by DOCKER_HOST": func(t *testing.T, _, host string) terminal.Docker {
			t.Setenv("DOCKER_HOST", host)
			t.Setenv("DOCKER_CONTEXT", "nosuch")
			return terminal.Docker{}
		},
		"by DOCKER_HOST, whatever keys there are for another daemon": func(t *testing.T, config, host string) terminal.Docker {
			newKeys(t).write(t, config)
			t.Setenv("DOCKER_HOST", host)
			t.Setenv("DOCKER_CERT_PATH", config)
			return terminal.Docker{}
		},
		"by DOCKER_CONTEXT": func(t *testing.T, config, host string) terminal.Docker {
			dockerContext(t, config, "mine", endpoint(host))
			writeFile(t, filepath.Join(config, "config.json"), `{"currentContext":"nosuch"}`)
			t.Setenv("DOCKER_CONTEXT", "mine")
			return terminal.Docker{}
		},
		"by the current context": func(t *testing.T, config, host string) terminal.Docker {
			dockerContext(t, config, "a name/ü", endpoint(host))
			writeFile(t, filepath.Join(config, "config.json"), `{"currentContext":"a name/ü"}`)
			return terminal.Docker{}
		},
	}
	for name, configure := range found {
		t.Run(name, func(t *testing.T) {
			d := fakedocker.New(t, "")
			require.NoError(t, checkDocker(t, configure(t, dockerConfig(t), d.Host())))
			assert.Equal(t, 1, d.Count("HEAD", "/_ping"))
		})
	}
}

func TestDockerIsNotFound(t *testing.T) {
	bad := map[string]struct {
		configure func(t *testing.T, config string)
		words     []string
	}{
		"DOCKER_HOST makes no sense": {
			func(t *testing.T, _ string) { t.Setenv("DOCKER_HOST", "bogus") },
			[]string{"DOCKER_HOST", `"bogus"`, "unix:///var/run/docker.sock"},
		},
		"DOCKER_HOST is ssh": {
			func(t *testing.T, _ string) { t.Setenv("DOCKER_HOST", "ssh://me@there") },
			[]string{"DOCKER_HOST", "ssh://me@there", "ssh -NL"},
		},
		"no such socket": {
			func(t *testing.T, config string) { t.Setenv("DOCKER_HOST", "unix://"+config+"/none.sock") },
			[]string{"/none.sock", "DOCKER_HOST", "no such socket", "start Docker"},
		},
		"nobody listens": {
			func(t *testing.T, config string) {
				t.Setenv("DOCKER_HOST", "unix://"+deadSocket(t, config))
			},
			[]string{"/dead.sock", "DOCKER_HOST", "no answer", "start Docker"},
		},
		"DOCKER_CONTEXT does not exist": {
			func(t *testing.T, _ string) { t.Setenv("DOCKER_CONTEXT", "nosuch") },
			[]string{`context "nosuch"`, "DOCKER_CONTEXT", "docker context ls"},
		},
		"the current context does not exist": {
			func(t *testing.T, config string) {
				writeFile(t, filepath.Join(config, "config.json"), `{"currentContext":"nosuch"}`)
			},
			[]string{`context "nosuch"`, "current context", "docker context ls"},
		},
		"the context is not Docker's": {
			func(t *testing.T, config string) {
				dockerContext(t, config, "k8s", `{"Endpoints":{"kubernetes":{"Host":"tcp://localhost:1"}}}`)
				t.Setenv("DOCKER_CONTEXT", "k8s")
			},
			[]string{`context "k8s"`, "no docker endpoint"},
		},
		"the context is ssh": {
			func(t *testing.T, config string) {
				dockerContext(t, config, "far", endpoint("ssh://me@there"))
				t.Setenv("DOCKER_CONTEXT", "far")
			},
			[]string{`context "far"`, "ssh://me@there", "ssh -NL"},
		},
		"the context's file is broken": {
			func(t *testing.T, config string) {
				dockerContext(t, config, "broken", `{"Endpoints":`)
				t.Setenv("DOCKER_CONTEXT", "broken")
			},
			[]string{`context "broken"`, "meta.json", "JSON"},
		},
		"the configuration is broken": {
			func(t *testing.T, config string) {
				writeFile(t, filepath.Join(config, "config.json"), `{"currentContext":`)
			},
			[]string{"configuration of the docker command", "config.json"},
		},
		"the keys of DOCKER_CERT_PATH are missing": {
			func(t *testing.T, config string) {
				t.Setenv("DOCKER_HOST", "tcp://localhost:1")
				t.Setenv("DOCKER_CERT_PATH", filepath.Join(config, "keys"))
			},
			[]string{"DOCKER_CERT_PATH", "/keys"},
		},
	}
	for name, c := range bad {
		t.Run(name, func(t *testing.T) {
			c.configure(t, dockerConfig(t))
			isUnavailable(t, checkDocker(t, terminal.Docker{}), c.words...)
			_, err := terminal.Docker{}.Open(t.Context(), "task")
			isUnavailable(t, err, c.words...)
		})
	}
}

// deadSocket is the socket of a daemon that was killed.
func deadSocket(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "dead.sock")
	listener, err := net.Listen("unix", path)
	require.NoError(t, err)
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, listener.Close())
	return path
}

func TestDockerIsTheWrongOne(t *testing.T) {
	for name, c := range map[string]struct {
		header map[string]string
		words  []string
	}{
		"too old":         {map[string]string{"Api-Version": "1.20"}, []string{"too old", "1.20", "upgrade", "19.03"}},
		"Windows' daemon": {map[string]string{"Ostype": "windows"}, []string{"windows", "linux"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := fakedocker.New(t, "")
			d.Fault(fakedocker.Rule{PathRegexp: "^/_ping$", Header: c.header})
			isUnavailable(t, checkDocker(t, terminal.Docker{Host: d.Host()}), append(c.words, d.Host(), "Docker.Host")...)
		})
	}
	t.Run("one that speaks TLS only", func(t *testing.T) {
		dockerConfig(t)
		host := newKeys(t).listen(t, tls.NoClientCert)
		err := checkDocker(t, terminal.Docker{Host: host})
		isUnavailable(t, err, "TLS", host)
		assert.NotContains(t, err.Error(), "too old")
	})
}

func TestDockerWithoutAHomeIsTheDefault(t *testing.T) {
	dockerConfig(t)
	t.Setenv("DOCKER_CONFIG", "")
	t.Setenv("HOME", "")
	if err := checkDocker(t, terminal.Docker{}); err != nil { // nobody need listen there
		assert.ErrorContains(t, err, "docker.sock")
	}
}

// keys are a private certificate authority's.
type keys struct {
	ca, cert, key []byte // PEM
	pair          tls.Certificate
	pool          *x509.CertPool
}

func newKeys(t *testing.T) keys {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test"},
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	var k keys
	k.cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	k.ca = k.cert
	k.key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	k.pair, err = tls.X509KeyPair(k.cert, k.key)
	require.NoError(t, err)
	k.pool = x509.NewCertPool()
	k.pool.AppendCertsFromPEM(k.ca)
	return k
}

func (k keys) write(t *testing.T, dir string) {
	t.Helper()
	writeFile(t, filepath.Join(dir, "ca.pem"), string(k.ca))
	writeFile(t, filepath.Join(dir, "cert.pem"), string(k.cert))
	writeFile(t, filepath.Join(dir, "key.pem"), string(k.key))
}

// listen is a daemon that speaks TLS.
func (k keys) listen(t *testing.T, client tls.ClientAuthType) (host string) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Api-Version", "1.41")
		w.Header().Set("Ostype", "linux")
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{k.pair}, ClientCAs: k.pool, ClientAuth: client}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return "tcp://" + server.Listener.Addr().String()
}

func TestDockerOverTLS(t *testing.T) {
	k := newKeys(t)
	for name, configure := range map[string]func(t *testing.T, config string){
		"with the keys of DOCKER_CERT_PATH": func(t *testing.T, config string) {
			t.Setenv("DOCKER_HOST", k.listen(t, tls.RequireAndVerifyClientCert))
			t.Setenv("DOCKER_TLS_VERIFY", "1")
			k.write(t, filepath.Join(config, "keys"))
			t.Setenv("DOCKER_CERT_PATH", filepath.Join(config, "keys"))
		},
		"with the keys of the configuration": func(t *testing.T, config string) {
			t.Setenv("DOCKER_HOST", k.listen(t, tls.RequireAndVerifyClientCert))
			t.Setenv("DOCKER_TLS_VERIFY", "1")
			k.write(t, config)
		},
		"with the keys of the context": func(t *testing.T, config string) {
			k.write(t, dockerContext(t, config, "mine", endpoint(k.listen(t, tls.RequireAndVerifyClientCert))))
			t.Setenv("DOCKER_CONTEXT", "mine")
		},
		"with a context's authority alone": func(t *testing.T, config string) {
			dir := dockerContext(t, config, "mine", endpoint(k.listen(t, tls.NoClientCert)))
			writeFile(t, filepath.Join(dir, "ca.pem"), string(k.ca))
			t.Setenv("DOCKER_CONTEXT", "mine")
		},
	} {
		t.Run(name, func(t *testing.T) {
			configure(t, dockerConfig(t))
			require.NoError(t, checkDocker(t, terminal.Docker{}))
		})
	}
	t.Run("of a stranger", func(t *testing.T) {
		config := dockerConfig(t)
		newKeys(t).write(t, config)
		t.Setenv("DOCKER_HOST", k.listen(t, tls.NoClientCert))
		t.Setenv("DOCKER_TLS_VERIFY", "1")
		t.Setenv("DOCKER_CERT_PATH", config)
		isUnavailable(t, checkDocker(t, terminal.Docker{}), "certificate", "DOCKER_HOST")
	})
}

// pullAuth opens an image that is not there, and returns what its registry
// was shown.
func pullAuth(t *testing.T, image string) (auth map[string]string, log string) {
	t.Helper()
	d := fakedocker.New(t, "")
	d.Fault(fakedocker.Rule{Method: "POST", PathRegexp: "^/containers/create$", Status: 404, Body: `{"message":"No such image"}`})
	d.Fault(fakedocker.Rule{Method: "POST", PathRegexp: "^/images/create$", Status: 200, Body: `{"status":"Download complete"}`})
	logger, text := newLog()
	term, err := terminal.New(terminal.Config{Backend: terminal.Docker{Host: d.Host(), Image: image, PullTimeout: 2 * time.Second}, Logger: logger})
	require.NoError(t, err)
	t.Cleanup(func() { _ = term.Close() })
	_, err = term.Run(t.Context(), terminal.Request{Command: "true"})
	require.ErrorIs(t, err, terminal.ErrUnavailable)
	headers := d.Headers("POST", "/images/create")
	require.Len(t, headers, 1, "%v", err)
	encoded := headers[0].Get("X-Registry-Auth")
	if encoded == "" {
		return nil, text()
	}
	plain, err := base64.URLEncoding.DecodeString(encoded)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(plain, &auth))
	return auth, text()
}

func TestDockerPullsWithCredentials(t *testing.T) {
	hub := dockercfg.ResolveRegistryHost("docker.io")
	inline := base64.StdEncoding.EncodeToString([]byte("me:pass:word"))
	alice := map[string]string{"username": "alice", "password": "secret", "serveraddress": "registry.example"}
	token := map[string]string{"identitytoken": "secret", "serveraddress": "registry.example"}
	for name, c := range map[string]struct {
		image, config, helper string
		want                  map[string]string
	}{
		"none without a configuration": {image: "registry.example/app:1"},
		"none for another registry": {
			image:  "other.example/app:1",
			config: `{"auths":{"registry.example":{"auth":"` + inline + `"}}}`,
		},
		"inline": {
			image:  "registry.example/app:1",
			config: `{"auths":{"registry.example":{"username":"alice","password":"secret"}}}`,
			want:   alice,
		},
		"encoded": {
			image:  "registry.example:5000/team/app@sha256:" + strings.Repeat("0", 64),
			config: `{"auths":{"registry.example:5000":{"auth":"` + inline + `"}}}`,
			want:   map[string]string{"username": "me", "password": "pass:word", "serveraddress": "registry.example:5000"},
		},
		"the Hub's, under its own name": {
			image:  "app",
			config: `{"auths":{"` + hub + `":{"auth":"` + inline + `"}}}`,
			want:   map[string]string{"username": "me", "password": "pass:word", "serveraddress": hub},
		},
		"an identity token": {
			image:  "registry.example/app:1",
			config: `{"auths":{"registry.example":{"identitytoken":"secret"}}}`,
			want:   token,
		},
		"of a registry's helper": {
			image:  "registry.example/app:1",
			config: `{"credHelpers":{"registry.example":"x"},"credsStore":"nosuch"}`,
			helper: `read host; [ "$1 $host" = "get registry.example" ] && echo '{"Username":"alice","Secret":"secret"}'`,
			want:   alice,
		},
		"a helper's token": {
			image:  "registry.example/app:1",
			config: `{"credsStore":"x"}`,
			helper: `echo '{"Username":"<token>","Secret":"secret"}'`,
			want:   token,
		},
		"inline where the store has none": {
			image:  "registry.example/app:1",
			config: `{"credsStore":"x","auths":{"registry.example":{"username":"alice","password":"secret"}}}`,
			helper: `echo credentials not found in native keychain; exit 1`,
			want:   alice,
		},
		"none where the helper is not there": {image: "registry.example/app:1", config: `{"credsStore":"nosuch"}`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := dockerConfig(t)
			if c.config != "" {
				writeFile(t, filepath.Join(dir, "config.json"), c.config)
			}
			credentialHelper(t, c.helper)
			auth, _ := pullAuth(t, c.image)
			assert.Equal(t, c.want, auth)
		})
	}
}

// credentialHelper puts docker-credential-x on the PATH.
func credentialHelper(t *testing.T, script string) {
	t.Helper()
	bin := t.TempDir()
	if script != "" {
		writeFile(t, filepath.Join(bin, "docker-credential-x"), "#!/bin/sh\n"+script+"\n")
	}
	t.Setenv("PATH", bin+":/usr/bin:/bin")
}

func TestDockerPullsWithoutCredentialsWhereTheHelperFails(t *testing.T) {
	dir := dockerConfig(t)
	writeFile(t, filepath.Join(dir, "config.json"), `{"credsStore":"x"}`)
	credentialHelper(t, "echo the keychain is locked >&2; exit 3")
	auth, log := pullAuth(t, "registry.example/app:1")
	assert.Nil(t, auth)
	assert.Contains(t, log, "the keychain is locked")
}

func TestDockerPullDoesNotWaitForAHelperForEver(t *testing.T) {
	dir := dockerConfig(t)
	writeFile(t, filepath.Join(dir, "config.json"), `{"credsStore":"x"}`)
	pipe := filepath.Join(dir, "pipe")
	credentialHelper(t, "mkfifo "+pipe+"; exec cat "+pipe)
	t.Cleanup(func() { // lets the helper go
		f, err := os.OpenFile(pipe, os.O_WRONLY, 0)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	})
	d := fakedocker.New(t, "")
	d.Fault(fakedocker.Rule{Method: "POST", PathRegexp: "^/containers/create$", Status: 404, Body: `{"message":"No such image"}`})
	began := time.Now()
	_, err := terminal.Docker{Host: d.Host(), Image: "registry.example/app:1", PullTimeout: time.Second}.Open(t.Context(), "task")
	isUnavailable(t, err, "Docker.PullTimeout", "registry.example/app:1")
	assert.Less(t, time.Since(began), 5*time.Second)
}

// newLog returns a Logger and what it has logged so far.
func newLog() (*slog.Logger, func() string) {
	var mu sync.Mutex
	var text strings.Builder
	write := writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return text.Write(p)
	})
	return slog.New(slog.NewTextHandler(write, nil)), func() string {
		mu.Lock()
		defer mu.Unlock()
		return text.String()
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
