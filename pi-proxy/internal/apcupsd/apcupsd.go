// Package apcupsd looks at how the Pi's apcupsd is set up: its configuration, the scripts that it
// runs at events, and who reaches its network server. It runs and changes nothing.
//
// It asks apcupsd nothing, and must not import the package that does.
package apcupsd

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Dir is where Debian's apcupsd has its configuration and scripts.
const Dir = "/etc/apcupsd"

// maxFile bounds what is read of a file; Debian's configuration has 14 KB.
const maxFile = 1 << 20

var errNoFile = errors.New("it is no regular file")

// Events are the events whose scripts must tell the Pi.
func Events() []string {
	return []string{"powerout", "onbattery", "mainsback", "offbattery", "doshutdown"}
}

// Setup is how apcupsd is set up.
type Setup struct {
	Settings  map[string]string // of apcupsd.conf, by directive
	Scripts   map[string]Script // by event
	Powerfail string            // the path of a file that has the output cut at the next shutdown; empty: there is none
	Cuts      bool              // what reads that file at a shutdown is installed
}

// Script is one that apcupsd runs.
type Script struct {
	There, Runs, Tells bool // it is executable, and tells the Pi
}

// Look reads a configuration directory; cutters are where what cuts the output may lie.
func Look(dir string, cutters ...string) (Setup, error) {
	s := Setup{Scripts: map[string]Script{}}
	text, err := read(filepath.Join(dir, "apcupsd.conf"))
	if err != nil {
		return s, fmt.Errorf("read apcupsd's configuration: %w", err)
	}
	s.Settings = settings(text)
	scripts := dir
	if d := s.Settings["SCRIPTDIR"]; filepath.IsAbs(d) && d != Dir {
		scripts = d
	}
	for _, e := range Events() {
		if s.Scripts[e], err = script(filepath.Join(scripts, e), e); err != nil {
			return s, fmt.Errorf("read apcupsd's scripts: %w", err)
		}
	}
	fail := filepath.Join(dir, "powerfail")
	if d := s.Settings["PWRFAILDIR"]; filepath.IsAbs(d) && d != Dir {
		fail = filepath.Join(d, "powerfail")
	}
	if _, err := os.Lstat(fail); err == nil {
		s.Powerfail = fail
	}
	for _, c := range cutters {
		if _, err := os.Stat(c); err == nil {
			s.Cuts = true
		}
	}
	return s, nil
}

// Disabled reports whether Debian's defaults keep apcupsd from starting.
func Disabled(path string) bool {
	text, err := read(path)
	if err != nil {
		return false
	}
	for line := range strings.Lines(text) {
		if key, value, _ := strings.Cut(strings.TrimSpace(line), "="); key == "ISCONFIGURED" {
			return strings.Trim(value, `"'`) != "yes"
		}
	}
	return false
}

func read(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s: %w", path, errNoFile)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	return string(data), err
}

// settings are the directives, of which the last counts.
func settings(text string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) > 1 && !strings.HasPrefix(words[0], "#") {
			all[strings.ToUpper(words[0])] = words[1]
		}
	}
	return all
}

func script(path, event string) (Script, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Script{}, nil
	}
	if err != nil {
		return Script{}, err
	}
	text, err := read(path)
	if err != nil {
		return Script{}, err
	}
	return Script{There: true, Runs: info.Mode()&0o111 != 0, Tells: tells(text, event)}, nil
}

// shipped is where the package has scripts of ours, which another's may run.
const shipped = "/usr/share/sentinel-pi/apcupsd/"

// tells reports whether a script has a line, which no # begins, by which the Pi is told of an event.
func tells(text, event string) bool {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "#") {
			continue
		}
		if _, after, found := strings.Cut(line, shipped+event); found && (after == "" || strings.ContainsAny(after[:1], " ;|&\"'")) {
			return true
		}
		_, args, found := strings.Cut(line, "sentinel-pi event ")
		if !found {
			continue
		}
		if strings.HasPrefix(args, event) || strings.Contains(args, "basename") || strings.HasPrefix(args, `"$`) {
			return true
		}
	}
	return false
}

// Open reports whether something listens on a TCP port for others than this machine, by the
// kernel's tables (proc(5)).
func Open(port string, tables ...string) (bool, error) {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return false, fmt.Errorf("%q is no port", port)
	}
	for _, path := range tables {
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return false, err
		}
		text, err := io.ReadAll(io.LimitReader(f, maxFile))
		f.Close()
		if err != nil {
			return false, err
		}
		if listens(string(text), uint16(n)) {
			return true, nil
		}
	}
	return false, nil
}

func listens(table string, port uint16) bool {
	const listen = "0A"
	for line := range strings.Lines(table) {
		words := strings.Fields(line)
		if len(words) < 4 || words[3] != listen {
			continue
		}
		addr, p, _ := strings.Cut(words[1], ":")
		if n, err := strconv.ParseUint(p, 16, 16); err != nil || uint16(n) != port {
			continue
		}
		raw, err := hex.DecodeString(addr)
		if err != nil {
			continue
		}
		if !address(raw).IsLoopback() {
			return true
		}
	}
	return false
}

// address is one of the kernel's: words of 32 bits, each with its bytes turned round, as all
// machines write them that the Pi's program is made for.
func address(raw []byte) net.IP {
	ip := make(net.IP, len(raw))
	for i := range raw {
		ip[i] = raw[i&^3|(3-i&3)]
	}
	return ip
}
