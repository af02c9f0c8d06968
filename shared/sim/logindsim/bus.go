package logindsim

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

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
	case "LoadUnit":
		return []any{unitPath(call.Body)}, nil
	case "ListInhibitors":
		return []any{m.inhibitors()}, nil
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
	case member == "Get" && len(call.Body) == 2 && call.Body[0] == any(systemdName+".Unit"):
		v, err := m.ofUnit(call)
		return []any{v}, err
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
	case "InhibitDelayMaxUSec":
		return dbus.MakeVariant(uint64(inhibitMax.Microseconds())), nil
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

const unitPrefix = systemdPath + "/unit/u"

// unitPath is the object of a unit, whose name it holds in hex.
func unitPath(body []any) dbus.ObjectPath {
	name := ""
	if len(body) > 0 {
		name, _ = body[0].(string)
	}
	return dbus.ObjectPath(unitPrefix + hex.EncodeToString([]byte(name)))
}

// ofUnit is a property of the unit that a call is about.
func (m *Machine) ofUnit(call *dbus.Message) (dbus.Variant, error) {
	path, _ := call.Headers[dbus.FieldPath].Value().(dbus.ObjectPath)
	name, err := hex.DecodeString(strings.TrimPrefix(string(path), unitPrefix))
	if err != nil {
		return dbus.Variant{}, fmt.Errorf("unknown object %s", path)
	}
	u, loaded := m.cfg.Units[string(name)]
	list := func(names []string) dbus.Variant { return dbus.MakeVariant(append([]string{}, names...)) }
	switch call.Body[1] {
	case "LoadState":
		return dbus.MakeVariant(map[bool]string{true: "loaded", false: "not-found"}[loaded]), nil
	case "ActiveState":
		return dbus.MakeVariant(cmp.Or(u.Active, "inactive")), nil
	case "UnitFileState":
		return dbus.MakeVariant(u.File), nil
	case "ActiveEnterTimestampMonotonic":
		return dbus.MakeVariant(uint64(u.Since.Microseconds())), nil
	case "After":
		return list(u.After), nil
	case "Before":
		return list(u.Before), nil
	}
	return dbus.Variant{}, fmt.Errorf("unknown property %v", call.Body[1])
}

// held is a line of ListInhibitors, a(ssssuu).
type held struct {
	What, Who, Why, Mode string
	UID, PID             uint32
}

// inhibitors are the locks that nobody has let go of.
func (m *Machine) inhibitors() []held {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := []held{}
	for _, l := range m.locks {
		_ = l.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := l.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			all = append(all, held{"shutdown", "sentinel-node", "", "delay", 0, 1})
		}
		_ = l.SetReadDeadline(time.Time{})
	}
	return all
}
