// Package tap listens on the LAN: who announces a shutdown to whom and is answered what,
// and which ports of the switch lose their link. It is what a story about announcements is
// judged by.
//
// It reads what tcpdump and ip print, and knows nothing of machines.
package tap

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Announcement is one POST to the path for announcements as the wire had it.
type Announcement struct {
	At       time.Time
	From, To netip.AddrPort
	Answered time.Time // zero: it was not
	Status   int       // of the answer
}

// Loss is a port that lost its link, or is gone.
type Loss struct {
	At   time.Time
	Port string
}

// Tap is what was heard so far. Its methods may be called from any goroutine.
type Tap struct {
	mu            sync.Mutex
	announcements []Announcement
	losses        []Loss
	heard         bool
	changed       chan struct{}
	cmds          []*exec.Cmd
	wg            sync.WaitGroup
}

// Starter starts a process, such as a forge.
type Starter interface{ Start(cmd *exec.Cmd) error }

// Open listens with two commands: one that prints packets as tcpdump -l -tt -n -A does, and
// one that prints links as `ip -ts -o monitor link`. What the first prints is also kept in
// a file.
func Open(f Starter, packets, links *exec.Cmd, keep string) (*Tap, error) {
	t := &Tap{changed: make(chan struct{})}
	file, err := os.Create(keep)
	if err != nil {
		return nil, err
	}
	if err := t.follow(f, packets, func(r io.Reader) {
		defer file.Close()
		newReader(t).read(io.TeeReader(r, file))
	}); err != nil {
		return nil, err
	}
	return t, t.follow(f, links, t.readLinks)
}

func (t *Tap) follow(f Starter, cmd *exec.Cmd, read func(io.Reader)) error {
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = f.Start(cmd)
	}
	if err != nil {
		return fmt.Errorf("listen on the LAN: %w", err)
	}
	t.cmds = append(t.cmds, cmd)
	t.wg.Go(func() {
		read(out)
		_ = cmd.Wait() // it was killed
	})
	return nil
}

// Close ends the listening.
func (t *Tap) Close() {
	for _, cmd := range t.cmds {
		_ = cmd.Process.Kill() // it may have ended
	}
	t.wg.Wait()
}

// Since are the announcements from an address since a time, and a channel that is closed
// when anything new was heard.
func (t *Tap) Since(at time.Time, from netip.Addr) ([]Announcement, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var found []Announcement
	for _, a := range t.announcements {
		if !a.At.Before(at) && a.From.Addr() == from {
			found = append(found, a)
		}
	}
	return found, t.changed
}

// Lost is when a port lost its link after a time, if it did.
func (t *Tap) Lost(port string, after time.Time) (time.Time, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.losses {
		if l.Port == port && l.At.After(after) {
			return l.At, true
		}
	}
	return time.Time{}, false
}

// Hears tells whether any packet was heard yet.
func (t *Tap) Hears() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.heard
}

func (t *Tap) change(apply func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	apply()
	close(t.changed)
	t.changed = make(chan struct{})
}

// packet is what tcpdump prints of one, before its text: time, source and target.
var packet = regexp.MustCompile(`^(\d+)\.(\d{6}) IP (\d+\.\d+\.\d+\.\d+)\.(\d+) > (\d+\.\d+\.\d+\.\d+)\.(\d+): `)

// answer is the first line of an HTTP answer.
var answer = regexp.MustCompile(`HTTP/1\.1 (\d{3}) `)

// post is the first line of an announcement.
const post = "POST /v1/announce "

// reader reads packets as tcpdump prints them.
type reader struct {
	tap  *Tap
	at   time.Time
	from netip.AddrPort
	to   netip.AddrPort
	open map[[2]netip.AddrPort]int // unanswered announcements by connection
}

func newReader(t *Tap) *reader { return &reader{tap: t, open: map[[2]netip.AddrPort]int{}} }

func (r *reader) read(in io.Reader) {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		r.line(line)
	}
}

func (r *reader) line(line string) {
	if m := packet.FindStringSubmatch(line); m != nil {
		r.at, r.from, r.to = stamp(m[1], m[2]), endpoint(m[3], m[4]), endpoint(m[5], m[6])
		r.tap.change(func() { r.tap.heard = true })
		return
	}
	if r.at.IsZero() {
		return // of no packet
	}
	if strings.Contains(line, post) {
		r.tap.change(func() {
			r.open[[2]netip.AddrPort{r.from, r.to}] = len(r.tap.announcements)
			r.tap.announcements = append(r.tap.announcements, Announcement{At: r.at, From: r.from, To: r.to})
		})
		return
	}
	if m := answer.FindStringSubmatch(line); m != nil {
		key := [2]netip.AddrPort{r.to, r.from}
		i, ok := r.open[key]
		if !ok {
			return // to a heartbeat
		}
		delete(r.open, key)
		r.tap.change(func() {
			r.tap.announcements[i].Answered = r.at
			r.tap.announcements[i].Status, _ = strconv.Atoi(m[1]) // three digits
		})
	}
}

func stamp(seconds, micros string) time.Time {
	s, _ := strconv.ParseInt(seconds, 10, 64) // both are digits
	us, _ := strconv.ParseInt(micros, 10, 64)
	return time.Unix(s, us*1000)
}

func endpoint(addr, port string) netip.AddrPort {
	p, _ := netip.ParseAddrPort(addr + ":" + port) // or the zero one, which is nobody's
	return p
}

// readLinks reads lines such as
// [2026-01-02T03:04:05.123456] Deleted 7: vb-node1@if2: <BROADCAST> mtu 1500 ...
func (t *Tap) readLinks(in io.Reader) {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<16)
	for lines.Scan() {
		if l, ok := lossOf(lines.Text()); ok {
			t.change(func() { t.losses = append(t.losses, l) })
		}
	}
}

func lossOf(line string) (Loss, bool) {
	f := strings.Fields(line)
	if len(f) < 4 {
		return Loss{}, false
	}
	at, err := time.ParseInLocation("[2006-01-02T15:04:05.999999]", f[0], time.Local)
	if err != nil {
		return Loss{}, false
	}
	deleted := f[1] == "Deleted"
	i := slices.IndexFunc(f, func(s string) bool { return strings.HasPrefix(s, "<") })
	if i < 1 || !deleted && !strings.Contains(f[i], "NO-CARRIER") {
		return Loss{}, false
	}
	port, _, _ := strings.Cut(strings.TrimSuffix(f[i-1], ":"), "@")
	return Loss{at, port}, true
}
