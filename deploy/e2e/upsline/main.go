// Command upsline is a UPS at the end of a serial line: the simulated unit on a pseudo
// terminal, for the apcupsd of the machine that it runs on. With words it tells the one
// that runs what happens to it: plug, unplug, test, charge 35, runtime 10m, low, mute.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"sentinel.home.arpa/shared/sim/smartups"
)

// Where the line is, for apcupsd's DEVICE, and the socket for orders.
const (
	dir    = "/run/upsline"
	device = dir + "/tty"
	socket = dir + "/orders"
)

// orderWithin bounds an order.
const orderWithin = 5 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) > 1 {
		err = order(strings.Join(os.Args[1:], " "))
	} else {
		err = run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	ups, err := smartups.Open()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(device), 0o755); err != nil {
		return err
	}
	for _, path := range []string{device, socket} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if err := os.Symlink(ups.Device(), device); err != nil {
		return err
	}
	ln, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
	served := make(chan struct{})
	go func() {
		defer close(served)
		serve(ln, ups)
	}()
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		return err
	}
	err = ups.Run(ctx)
	_ = ln.Close()
	<-served
	return err
}

// serve takes one order from each connection.
func serve(ln net.Listener, ups *smartups.UPS) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		_ = conn.SetDeadline(time.Now().Add(orderWithin))
		said := "done"
		if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
			said = err.Error()
		} else if err := obey(ups, strings.Fields(line)); err != nil {
			said = err.Error()
		}
		_, _ = fmt.Fprintln(conn, said) // it has happened, whether or not it is heard
		_ = conn.Close()
	}
}

func obey(ups *smartups.UPS, words []string) error {
	word := strings.Join(words[:min(1, len(words))], "")
	value := strings.Join(words[min(1, len(words)):], " ")
	switch word {
	case "plug", "unplug":
		ups.Plug(word == "plug")
	case "test":
		ups.SelfTest(value != "off")
	case "low":
		ups.LowBattery(value != "off")
	case "mute":
		ups.Mute(value != "off")
	case "charge":
		percent, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return err
		}
		ups.SetCharge(percent)
	case "runtime":
		d, err := time.ParseDuration(value)
		if err != nil {
			return err
		}
		ups.SetRuntime(d)
	default:
		return fmt.Errorf("%q is no order", word)
	}
	return nil
}

// order tells the running unit.
func order(words string) error {
	conn, err := net.DialTimeout("unix", socket, orderWithin)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(orderWithin)); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(conn, words); err != nil {
		return err
	}
	said, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && said != "done\n" {
		err = errors.New(strings.TrimSpace(said))
	}
	return err
}
