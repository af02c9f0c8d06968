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
)

// By default the ports that Linux gives out begin at 32768 (ip(7), ip_local_port_range).
const (
	first = 20000
	last  = 32000
	tries = 100
)

// Listen listens on such a port.
func Listen() (ln net.Listener, err error) {
	for range tries {
		ln, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(last-first)))
		if !errors.Is(err, syscall.EADDRINUSE) {
			return ln, err
		}
	}
	return nil, err
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
	for range tries {
		port := first + rand.IntN(last-first)
		conn, err := net.ListenUDP("udp", &net.UDPAddr{Port: port})
		if err == nil {
			return port, conn.Close()
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return 0, err
		}
	}
	return 0, syscall.EADDRINUSE
}
