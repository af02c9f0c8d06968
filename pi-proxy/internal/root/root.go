package root

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"
)

const (
	// Socket is where systemd listens for the Pi (sentinel-pi-root.socket).
	Socket = "/run/sentinel-pi-root.sock"

	readWithin  = 5 * time.Second
	actWithin   = 45 * time.Second // apcupsd's restart takes the longest; the unit ends at 60 s
	writeWithin = 2 * time.Second
	askWithin   = readWithin + actWithin + writeWithin

	maxAnswer = 1024
	apcupsd   = "apcupsd.service"
)

// Manager is the machine's service manager.
type Manager interface {
	// PowerOff begins to power the machine off.
	PowerOff(ctx context.Context) error
	// Restart restarts a unit, or starts it, and waits until it runs.
	Restart(ctx context.Context, unit string) error
}

// Server does what the Pi asks.
type Server struct {
	Manager   Manager
	Powerfail Powerfail
	Log       *slog.Logger
}

// ServeStdin answers the question on the connection that systemd gave this process as its
// standard input. The error is for the journal; the Pi has its answer.
func ServeStdin(ctx context.Context, log *slog.Logger) error {
	conn, err := net.FileConn(os.Stdin)
	if err != nil {
		return fmt.Errorf("take the connection on standard input; only systemd starts this: %w", err)
	}
	defer conn.Close()
	s := &Server{Manager: NewSystemd(), Powerfail: Powerfail{Config: apcupsdConfig, Dir: apcupsdDir}, Log: log}
	return s.Serve(ctx, conn)
}

// Serve reads one question within 5 s, does it within 45 s and answers. What has begun goes
// on when ctx ends. It leaves the connection open.
func (s *Server) Serve(ctx context.Context, conn net.Conn) error {
	verb, err := read(conn)
	if err == nil {
		s.Log.Info("asked", "verb", verb)
		// The machine that goes down ends this program too, maybe before logind's answer is
		// here. That must not look like a halt that failed.
		acting, cancel := context.WithTimeout(context.WithoutCancel(ctx), actWithin)
		err = s.do(acting, verb)
		cancel()
	}
	return errors.Join(err, answer(conn, err))
}

// read takes what comes until the first newline, the bound or the deadline.
func read(conn net.Conn) (Verb, error) {
	if err := conn.SetReadDeadline(time.Now().Add(readWithin)); err != nil {
		return "", fmt.Errorf("read the question: %w", err)
	}
	question := make([]byte, 0, maxLine+1)
	for !bytes.Contains(question, []byte("\n")) {
		if len(question) > maxLine {
			return "", errNoLine
		}
		n, err := conn.Read(question[len(question):cap(question)])
		question = question[:len(question)+n]
		switch {
		case errors.Is(err, io.EOF):
			return parse(question)
		case err != nil:
			return "", fmt.Errorf("read the question: %w", err)
		}
	}
	if len(question) > maxLine {
		return "", errNoLine
	}
	return parse(question)
}

func (s *Server) do(ctx context.Context, verb Verb) error {
	switch verb {
	case Halt:
		if err := s.Powerfail.Remove(); err != nil {
			return err
		}
		return s.powerOff(ctx)
	case HaltAndCut:
		if err := s.Powerfail.Write(); err != nil {
			return err
		}
		if err := s.powerOff(ctx); err != nil {
			// Else whatever shuts the Pi down next, a reboot too, would cut the output.
			return errors.Join(err, s.Powerfail.Remove())
		}
		return nil
	case Clear:
		if err := s.Powerfail.Remove(); err != nil {
			return err
		}
		if err := s.Manager.Restart(ctx, apcupsd); err != nil {
			return fmt.Errorf("restart %s: %w", apcupsd, err)
		}
		return nil
	}
	return fmt.Errorf("%q is no verb", verb)
}

func (s *Server) powerOff(ctx context.Context) error {
	if err := s.Manager.PowerOff(ctx); err != nil {
		return fmt.Errorf("power off: %w", err)
	}
	return nil
}

func answer(conn net.Conn, err error) error {
	text := "ok"
	if err != nil {
		text = "error: " + strings.ReplaceAll(err.Error(), "\n", "; ")
		text = text[:min(len(text), maxAnswer-1)]
	}
	if err := conn.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	if _, err := io.WriteString(conn, text+"\n"); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return nil
}

// Ask asks root and waits for what comes of it, 52 s at most. After an error the verb may
// have been done all the same, unless root itself refused it.
func Ask(ctx context.Context, socket string, verb Verb) error {
	if err := ask(ctx, socket, verb); err != nil {
		return fmt.Errorf("ask root to %s: %w", verb, err)
	}
	return nil
}

func ask(ctx context.Context, socket string, verb Verb) error {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := io.WriteString(conn, string(verb)+"\n"); err != nil {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(conn, maxAnswer))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	line, _, whole := strings.Cut(string(data), "\n")
	reason, failed := strings.CutPrefix(line, "error: ")
	switch {
	case whole && line == "ok":
		return nil
	case whole && failed:
		return errors.New(reason)
	case err != nil:
		return err
	}
	return fmt.Errorf("it answered %.80q", data)
}
