package root

import (
	"context"
	"errors"
	"fmt"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
)

// Systemd is the Manager of a real machine. Each call is a connection of its own, which
// ends with its context.
type Systemd struct {
	bus     func(ctx context.Context) (*dbus.Conn, error)
	manager func(ctx context.Context) (*systemd.Conn, error)
}

// NewSystemd asks logind on the system bus, and systemd on its own socket, which is root's
// and there without a bus.
func NewSystemd() *Systemd {
	return &Systemd{
		bus:     func(ctx context.Context) (*dbus.Conn, error) { return dbus.ConnectSystemBus(dbus.WithContext(ctx)) },
		manager: systemd.NewSystemdConnectionContext,
	}
}

// PowerOff asks logind, which lets the machine's other programs have their last word. If it
// refuses, as for an inhibitor's sake (systemd 257), or cannot be asked, systemd powers off.
func (s *Systemd) PowerOff(ctx context.Context) error {
	err := s.logind(ctx)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("ask logind: %w", err)
	conn, other := s.manager(ctx)
	if other == nil {
		defer conn.Close()
		_, other = conn.StartUnitContext(ctx, "poweroff.target", "replace-irreversibly", nil)
	}
	if other != nil {
		return errors.Join(err, fmt.Errorf("ask systemd: %w", other))
	}
	return nil
}

func (s *Systemd) logind(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, actWithin/3) // systemd comes after it
	defer cancel()
	conn, err := s.bus(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	const interactive = false
	return conn.Object("org.freedesktop.login1", "/org/freedesktop/login1").
		CallWithContext(ctx, "org.freedesktop.login1.Manager.PowerOff", 0, interactive).Err
}

// Restart waits for the end of systemd's job.
func (s *Systemd) Restart(ctx context.Context, unit string) error {
	conn, err := s.manager(ctx)
	if err != nil {
		return fmt.Errorf("ask systemd: %w", err)
	}
	defer conn.Close()
	result := make(chan string, 1)
	if _, err := conn.RestartUnitContext(ctx, unit, "replace", result); err != nil {
		return fmt.Errorf("ask systemd: %w", err)
	}
	select {
	case r := <-result:
		if r != "done" {
			return fmt.Errorf("systemd's job ended as %q", r)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
