// Package freeport finds ports on loopback for servers that end and start again, and must
// have the same port each time. Those that the system gives out by itself would be taken
// meanwhile by somebody's connection.
//
// It is reached only from tests and the lab.
package freeport

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"syscall"
	"time"
)

// By default the ports that Linux gives out begin at 32768 (ip(7), ip_local_port_range).
const (
	first = 20000
	last  = 32000
	tries = 100
)

// Listen listens on such a port.
func Listen() (net.Listener, error) {
	var ln net.Listener
	_, err := pick(func(port int) (err error) {
		ln, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		return err
	})
	return ln, err
}

// reopenWithin is how long a port that was closed may seem to be in use.
const reopenWithin = 2 * time.Second

// Again listens on a port that this process has had before. A program that is being started
// holds, between fork and exec, what was closed here a moment ago.
func Again(network, addr string) (net.Listener, error) {
	for end := time.Now().Add(reopenWithin); ; time.Sleep(time.Millisecond) {
		ln, err := net.Listen(network, addr)
		if !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(end) {
			return ln, err
		}
	}
}

// TCP is the address of one that is free now.
func TCP() (string, error) {
	ln, err := Listen()
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// UDP is one that is free now, on all addresses.
func UDP() (int, error) {
	return pick(func(port int) error {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{Port: port})
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// pick is a port that nobody has claimed and that can be used.
func pick(use func(port int) error) (port int, err error) {
	for range tries {
		port = first + rand.IntN(last-first)
		if err = claim(port); err == nil {
			err = use(port)
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return port, err
}

// claim keeps a port from others of this machine for as long as this process lives, also while
// nobody listens on it: by a name in the kernel (unix(7), abstract), which needs no tidying.
func claim(port int) error {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("claim port %d: %w", port, err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: fmt.Sprintf("@sentinel-port-%d", port)}); err != nil {
		_ = syscall.Close(fd) // nothing was claimed
		return fmt.Errorf("claim port %d: %w", port, err)
	}
	return nil
}
