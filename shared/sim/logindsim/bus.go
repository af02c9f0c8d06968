package logindsim

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/godbus/dbus/v5"
)

const (
	logindName     = "org.freedesktop.login1"
	logindPath     = "/org/freedesktop/login1"
	logindManager  = "org.freedesktop.login1.Manager"
	systemdName    = "org.freedesktop.systemd1"
	systemdPath    = "/org/freedesktop/systemd1"
	systemdManager = "org.freedesktop.systemd1.Manager"
	jobPath        = "/org/freedesktop/systemd1/job/1"
)

// peer is a program that is connected.
type peer struct{ conn *net.UnixConn }

func (m *Machine) accept() {
	for {
		conn, err := m.ln.Accept()
		if err != nil {
			return // closed
		}
		p := &peer{conn.(*net.UnixConn)}
		m.wg.Go(func() {
			defer conn.Close()
			m.talk(p)
		})
	}
}

// talk answers one program until it hangs up.
func (m *Machine) talk(p *peer) {
	in := bufio.NewReader(p.conn)
	if greet(p.conn, in) != nil {
		return
	}
	m.mu.Lock()
	m.peers[p] = true
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.peers, p)
	}()
	for {
		call, err := dbus.DecodeMessage(in)
		if err != nil {
			return
		}
		if call.Type != dbus.TypeMethodCall {
			continue
		}
		reply := &dbus.Message{Type: dbus.TypeMethodReply}
		if reply.Body, err = m.answer(call); err != nil {
			reply.Type, reply.Body = dbus.TypeError, []any{err.Error()}
		}
		reply.Headers = map[dbus.HeaderField]dbus.Variant{dbus.FieldReplySerial: dbus.MakeVariant(call.Serial())}
		if err != nil {
			reply.Headers[dbus.FieldErrorName] = dbus.MakeVariant("org.freedesktop.DBus.Error.Failed")
		}
		if p.send(reply) != nil {
			return
		}
	}
}

// greet is the handshake, in which any user is let in.
func greet(conn io.Writer, in *bufio.Reader) error {
	if _, err := in.ReadByte(); err != nil {
		return err
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		answer := "ERROR"
		switch word := strings.TrimSpace(line); {
		case word == "AUTH":
			answer = "REJECTED EXTERNAL"
		case strings.HasPrefix(word, "AUTH EXTERNAL"):
			answer = "OK 0123456789abcdef0123456789abcdef"
		case word == "NEGOTIATE_UNIX_FD":
			answer = "AGREE_UNIX_FD"
		case word == "BEGIN":
			return nil
		}
		if _, err := io.WriteString(conn, answer+"\r\n"); err != nil {
			return err
		}
	}
}

// job is a line of ListJobs, a(usssoo).
type job struct {
	ID                uint32
	Unit, Type, State string
	Path, UnitPath    dbus.ObjectPath
}

// answer is what a call returns.
func (m *Machine) answer(call *dbus.Message) ([]any, error) {
	member, _ := call.Headers[dbus.FieldMember].Value().(string)
	switch member {
	case "Hello":
		return []any{":1.7"}, nil
	case "AddMatch", "RemoveMatch", "Subscribe":
		return nil, nil
	case "Inhibit":
		return m.inhibit()
	case "PowerOff":
		if m.cfg.Asked != nil {
			m.cfg.Asked()
		}
		return nil, m.Shutdown("poweroff")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case member == "ListJobs" && m.stops:
		return []any{[]job{{1, m.going + ".target", "start", "waiting", jobPath, systemdPath + "/unit/x"}}}, nil
	case member == "ListJobs":
		return []any{[]job{}}, nil
	case member == "Get" && len(call.Body) == 2:
		v, err := m.property(call.Body[1])
		return []any{v}, err
	}
	return nil, fmt.Errorf("unknown method %s", member)
}

func (m *Machine) property(name any) (dbus.Variant, error) {
	switch name {
	case "PreparingForShutdown":
		return dbus.MakeVariant(m.going != ""), nil
	case "ScheduledShutdown":
		return dbus.MakeVariant(struct {
			Kind string
			At   uint64
		}{m.going, 1}), nil
	case "SystemState":
		return dbus.MakeVariant(map[bool]string{true: "stopping", false: "running"}[m.stops]), nil
	}
	return dbus.Variant{}, fmt.Errorf("unknown property %v", name)
}

// inhibit hands out a delay lock, which is let go by closing it.
func (m *Machine) inhibit() ([]any, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.going != "" {
		return nil, fmt.Errorf("there's already a %s in progress", m.going)
	}
	ours, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	m.locks = append(m.locks, ours)
	return []any{theirs}, nil
}

// emit sends a signal to all that are connected.
func (m *Machine) emit(path dbus.ObjectPath, iface, member string, body ...any) {
	sender := map[dbus.ObjectPath]string{logindPath: logindName, systemdPath: systemdName}[path]
	for p := range m.peers { // who hangs up has its own goroutine notice
		_ = p.send(&dbus.Message{Type: dbus.TypeSignal, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldPath: dbus.MakeVariant(path), dbus.FieldInterface: dbus.MakeVariant(iface),
			dbus.FieldMember: dbus.MakeVariant(member), dbus.FieldSender: dbus.MakeVariant(sender)}})
	}
}

// send writes a message whole; an open file in it crosses as a descriptor, and is closed here.
func (p *peer) send(msg *dbus.Message) error {
	var rights []byte
	for i, v := range msg.Body {
		if f, ok := v.(*os.File); ok {
			defer f.Close()
			fd := int(f.Fd())
			rights = syscall.UnixRights(fd)
			msg.Body[i] = dbus.UnixFD(fd)
			msg.Headers[dbus.FieldUnixFDs] = dbus.MakeVariant(uint32(1))
		}
	}
	if len(msg.Body) > 0 {
		msg.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(msg.Body...))
	}
	var b bytes.Buffer
	if _, err := msg.EncodeToWithFDs(&b, binary.LittleEndian); err != nil {
		return err
	}
	_, _, err := p.conn.WriteMsgUnix(b.Bytes(), rights, nil)
	return err
}
