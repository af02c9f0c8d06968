package freeport

import (
	"errors"
	"net"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// TestAClaimedPortIsNotGivenAgain though nobody listens on it.
func TestAClaimedPortIsNotGivenAgain(t *testing.T) {
	addr, err := TCP()
	if err != nil {
		t.Fatal(err)
	}
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(p)
	if err != nil || port < first || port >= last {
		t.Fatalf("%s, %v", addr, err)
	}
	if err := claim(port); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("claimed twice: %v", err)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatalf("its owner cannot listen: %v", err)
	}
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
}

// TestAPortInUseIsPassedOver, and any other error is told.
func TestAPortInUseIsPassedOver(t *testing.T) {
	asked := 0
	port, err := pick(func(int) error {
		if asked++; asked < 3 {
			return syscall.EADDRINUSE
		}
		return nil
	})
	if err != nil || asked != 3 || port == 0 {
		t.Errorf("port %d after %d, %v", port, asked, err)
	}
	if _, err := pick(func(int) error { return syscall.EACCES }); !errors.Is(err, syscall.EACCES) {
		t.Errorf("%v", err)
	}
	if _, err := UDP(); err != nil {
		t.Error(err)
	}
}

// TestAPortThatAStartingProgramStillHoldsIsWaitedFor as one does between fork and exec.
func TestAPortThatAStartingProgramStillHoldsIsWaitedFor(t *testing.T) {
	ln, err := Listen()
	if err != nil {
		t.Fatal(err)
	}
	held, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if ln, err := net.Listen("tcp", addr); err == nil {
		ln.Close()
		t.Fatal("the port is not held")
	}
	time.AfterFunc(50*time.Millisecond, func() { held.Close() })
	again, err := Again("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}
