package modalfake

import (
	"net"
	"sync"
)

// Network is the listener of one of the services, which tests can cut or freeze.
type Network struct {
	net.Listener

	mu    sync.Mutex // guards the rest; not held across I/O
	cut   bool
	gate  chan struct{} // closed unless frozen
	conns map[*conn]struct{}
}

func listen() (*Network, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	open := make(chan struct{})
	close(open)
	return &Network{Listener: l, gate: open, conns: make(map[*conn]struct{})}, nil
}

// Accept returns the next connection; while the network is cut it drops them.
func (n *Network) Accept() (net.Conn, error) {
	for {
		c, err := n.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if kept := n.keep(c); kept != nil {
			return kept, nil
		}
		_ = c.Close()
	}
}

func (n *Network) keep(c net.Conn) *conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut {
		return nil
	}
	kept := &conn{Conn: c, network: n, closed: make(chan struct{})}
	n.conns[kept] = struct{}{}
	return kept
}

// Drop closes every connection but accepts new ones.
func (n *Network) Drop() {
	n.mu.Lock()
	conns := n.conns
	n.conns = make(map[*conn]struct{})
	n.mu.Unlock()
	for c := range conns {
		_ = c.Close()
	}
}

// Cut closes every connection, old and new, until restore is called.
func (n *Network) Cut() (restore func()) {
	n.mu.Lock()
	n.cut = true
	n.mu.Unlock()
	n.Drop()
	return n.restore
}

// Freeze blocks reads and writes without closing connections, until restore is
// called.
func (n *Network) Freeze() (restore func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.gate:
		n.gate = make(chan struct{})
	default:
	}
	return n.restore
}

func (n *Network) restore() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = false
	select {
	case <-n.gate:
	default:
		close(n.gate)
	}
}

// conn is a connection that stops where its network is frozen.
type conn struct {
	net.Conn
	network *Network
	once    sync.Once
	closed  chan struct{}
}

// pass waits until the network lets bytes through.
func (c *conn) pass() {
	c.network.mu.Lock()
	gate := c.network.gate
	c.network.mu.Unlock()
	select {
	case <-gate:
	case <-c.closed:
	}
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.pass() // what arrived before the freeze was seen waits as well
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	c.pass()
	return c.Conn.Write(p)
}

func (c *conn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.network.mu.Lock()
		delete(c.network.conns, c)
		c.network.mu.Unlock()
	})
	return c.Conn.Close()
}
