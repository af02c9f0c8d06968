//go:build abuse

package abuse_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/wire"
)

// answer is what a fake brain says to a heartbeat.
type answer struct {
	name  string
	write func(f *fakeBrain, c net.Conn, asked wire.Header)
	says  string // in the agent's log
	taken bool   // is a good one, and yet changes no more than it should
}

// fakeBrain answers heartbeats as it is told to.
type fakeBrain struct {
	key, other wire.Key
	boot       string
	now        atomic.Pointer[answer]
	asked      atomic.Int64
	seq        wire.Counter
	last       atomic.Pointer[[]byte] // the last good answer's body
}

func (f *fakeBrain) serve(c net.Conn) {
	for r := bufio.NewReader(c); ; {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		e, err := wire.Read(body)
		if err != nil {
			return
		}
		f.asked.Add(1)
		a := f.now.Load()
		a.write(f, c, e.Header)
		if a.name != good.name {
			return // one answer a connection
		}
	}
}

// answer is a good one to a request, after a change.
func (f *fakeBrain) answer(asked wire.Header, change func(a map[string]any)) []byte {
	m := map[string]any{"v": 1, "node": "brain", "boot": f.boot, "seq": f.seq.Next(daemon.BootTime()),
		"to": asked.Node, "to_boot": asked.Boot, "to_seq": asked.Seq}
	if change != nil {
		change(m)
	}
	return marshal(m)
}

func (f *fakeBrain) sealed(asked wire.Header, change func(a map[string]any)) []byte {
	return seal(wire.KindAnswer, f.answer(asked, change), f.key)
}

func http200(body []byte, headers ...string) []byte {
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	for _, h := range headers {
		head += h + "\r\n"
	}
	return append([]byte(head+"\r\n"), body...)
}

// says answers with bytes as they are.
func says(data []byte) func(*fakeBrain, net.Conn, wire.Header) {
	return func(_ *fakeBrain, c net.Conn, _ wire.Header) { _, _ = c.Write(data) }
}

// changed answers with a good answer after a change, signed.
func changed(change func(a map[string]any)) func(*fakeBrain, net.Conn, wire.Header) {
	return func(f *fakeBrain, c net.Conn, asked wire.Header) { _, _ = c.Write(http200(f.sealed(asked, change))) }
}

// refusing answers 403 with a text.
func refusing(text string) func(*fakeBrain, net.Conn, wire.Header) {
	body := marshal(courier.ErrorBody{Error: text})
	return says(append(fmt.Appendf(nil, "HTTP/1.1 403 No\r\nContent-Length: %d\r\n\r\n", len(body)), body...))
}

var good = answer{name: "good", write: func(f *fakeBrain, c net.Conn, asked wire.Header) {
	body := f.sealed(asked, nil)
	f.last.Store(&body)
	_, _ = c.Write(http200(body))
}}

// drip writes a byte a second until nobody reads.
func drip(c net.Conn, data []byte) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for _, b := range data {
		if _, err := c.Write([]byte{b}); err != nil {
			return
		}
		<-tick.C
	}
}

var badAnswers = []answer{
	{name: "nothing, and closed", write: says(nil), says: "EOF"},
	{name: "garbage", write: says([]byte(strings.Repeat("\x00\xff", 500) + "\r\n\r\n")), says: "malformed HTTP"},
	{name: "empty body", write: says(http200(nil)), says: "there is nothing in it"},
	{name: "no JSON", write: says(http200([]byte("<html>captive portal</html>"))), says: "malformed envelope"},
	{name: "cut off in the middle", write: func(f *fakeBrain, c net.Conn, asked wire.Header) {
		data := http200(f.sealed(asked, nil))
		_, _ = c.Write(data[:len(data)-50])
	}, says: "unexpected EOF"},
	{name: "10 MB", write: says(http200(make([]byte, tenMB))), says: "over the limit"},
	{name: "an endless body", write: func(_ *fakeBrain, c net.Conn, _ wire.Header) {
		_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for chunk := append(fmt.Appendf(nil, "%x\r\n", 32<<10), append(make([]byte, 32<<10), "\r\n"...)...); err == nil; {
			_, err = c.Write(chunk)
		}
	}, says: "over the limit"},
	{name: "a header of 1 MB", write: says([]byte("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n")), says: "header"},
	{name: "a byte a second", write: func(f *fakeBrain, c net.Conn, asked wire.Header) { drip(c, http200(f.sealed(asked, nil))) }, says: "deadline"},
	{name: "a zip bomb", write: says(http200(zipped(make([]byte, tenMB)), "Content-Encoding: gzip")), says: "over the limit"},
	{name: "a redirect", write: says([]byte("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")), says: "302"},
	{name: "500", write: says([]byte("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")), says: "500"},
	{name: "403 with control characters", write: refusing("\n\x1b[31mred\x00"), says: "403"},
	{name: "403 with 60 KB", write: refusing(strings.Repeat("x", 60<<10)), says: "403"},
	{name: "unsigned", write: func(f *fakeBrain, c net.Conn, asked wire.Header) {
		_, _ = c.Write(http200(seal(wire.KindAnswer, f.answer(asked, nil))))
	}, says: "0 signatures"},
	{name: "another's signature", write: func(f *fakeBrain, c net.Conn, asked wire.Header) {
		_, _ = c.Write(http200(seal(wire.KindAnswer, f.answer(asked, nil), f.other)))
	}, says: "signature is wrong"},
	{name: "another kind, signed", write: func(f *fakeBrain, c net.Conn, asked wire.Header) {
		_, _ = c.Write(http200(seal(wire.KindHeartbeat, f.answer(asked, nil), f.key)))
	}, says: "is due"},
	{name: "to another seq, signed", write: changed(func(a map[string]any) { a["to_seq"] = 7 }), says: "another request"},
	{name: "to another node, signed", write: changed(func(a map[string]any) { a["to"] = "pve9" }), says: "another request"},
	{name: "an earlier answer, replayed", write: func(f *fakeBrain, c net.Conn, _ wire.Header) { _, _ = c.Write(http200(*f.last.Load())) }, says: "another request"},
	{name: "version 2, signed", write: changed(func(a map[string]any) { a["v"] = 2 }), says: "version 2"},
	{name: "an unknown field, signed", write: changed(func(a map[string]any) { a["sudo"] = true }), says: "unknown field"},
	{name: "17 Pis, signed", write: changed(func(a map[string]any) { a["pis"] = make([]map[string]any, 17) }), says: "too many"},
	{name: "Pis that are none, signed", write: changed(func(a map[string]any) {
		a["pis"] = []map[string]any{{"name": "../x", "address": "127.0.0.1:9", "key": "ed25519:AAAA"}, {"name": "ok", "address": "a/b@c:5"}}
	}), taken: true},
}

// TestR2_AnswersToTheAgent has a brain answer an agent's heartbeats badly. Each is said
// once, and the agent beats on.
func TestR2_AnswersToTheAgent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := &fakeBrain{key: loadKey(t, filepath.Join(dir, "brain")), other: loadKey(t, filepath.Join(dir, "other")), boot: newBoot(t, filepath.Join(dir, "brain"))}
	f.now.Store(&good)
	addr := accept(t, "tcp", "127.0.0.1:0", f.serve)
	home := filepath.Join(dir, "pve1")
	newBoot(t, home)
	write(t, filepath.Join(home, "config.yaml"), fmt.Sprintf("name: pve1\nstate_dir: %s\nboot_id_file: %s/boot_id\nlogind: off\ninterval: 200ms\nlog: {level: info, format: json}\nbrains: [{address: %q, key: %q}]\n",
		home, home, addr, f.key.PublicKey()))
	p := start(t, "node-hook", nil, "run", "--config", filepath.Join(home, "config.yaml"))
	p.says(0, "receiver is reachable", 5*time.Second)
	rss := p.rss()
	for _, a := range badAnswers {
		before, mark, asked := files(t, home), p.log.mark(), f.asked.Load()
		f.now.Store(&a)
		if !a.taken {
			await(t, a.name+" is complained of", 6*time.Second, func() bool { return strings.Contains(p.log.since(mark), "receiver ") })
		}
		await(t, "the agent beats on", 8*time.Second, func() bool { return f.asked.Load() >= asked+3 })
		said := p.log.since(mark)
		again := p.log.mark()
		f.now.Store(&good)
		var wrong []string
		if !a.taken {
			p.says(again, "receiver is reachable", 5*time.Second)
			if n := strings.Count(said, "\n"); n != 1 {
				wrong = append(wrong, fmt.Sprintf("said %d times", n))
			}
		}
		if !strings.Contains(said, a.says) {
			wrong = append(wrong, fmt.Sprintf("does not say %q", a.says))
		}
		x := row{target: "answer to the agent's heartbeat", abuse: a.name, answer: "refused", text: why(said), changed: "nothing"}
		if a.taken {
			x.answer = "taken"
		}
		if len(said) > 2000 {
			wrong = append(wrong, "a log line of "+fmt.Sprint(len(said)))
		}
		if after := files(t, home); fmt.Sprint(after) != fmt.Sprint(before) {
			wrong = append(wrong, "files changed")
		}
		if sick := p.alive(); sick != "" {
			wrong = append(wrong, sick)
		}
		judge(t, x, wrong)
	}
	judgeMemory(t, p, rss)
}

func judgeMemory(t *testing.T, p *program, before float64) {
	t.Helper()
	var wrong []string
	grown := p.rss() - before
	if grown > 20 {
		wrong = append(wrong, "grown by more than 20 MB")
	}
	judge(t, row{target: "memory", abuse: p.name, answer: fmt.Sprintf("%+.1f MB", grown), changed: fmt.Sprintf("%.0f MB before", before)}, wrong)
}

// TestR2_AnswersOfTailscaled has the host's tailscaled answer badly where the agent looks
// for a brain: nobody is found, in time, and that is said.
func TestR2_AnswersOfTailscaled(t *testing.T) {
	t.Parallel()
	for name, say := range map[string]func(net.Conn){
		"closed":          func(net.Conn) {},
		"garbage":         func(c net.Conn) { _, _ = c.Write([]byte("\x00\xff\x00\r\n\r\n")) },
		"403":             func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n") },
		"no JSON":         func(c net.Conn) { _, _ = c.Write(http200([]byte("hello"))) },
		"wrong types":     func(c net.Conn) { _, _ = c.Write(http200([]byte(`{"Peer":7,"Self":[]}`))) },
		"100,000 levels":  func(c net.Conn) { _, _ = c.Write(http200([]byte(strings.Repeat("[", 100_000)))) },
		"10 MB":           func(c net.Conn) { _, _ = c.Write(http200(bytes.Repeat([]byte("x"), tenMB))) },
		"a byte a second": func(c net.Conn) { drip(c, http200([]byte("{}"))) },
		"null":            func(c net.Conn) { _, _ = c.Write(http200([]byte("null"))) },
		"a brain that is no address": func(c net.Conn) {
			_, _ = c.Write(http200([]byte(`{"BackendState":"Running","Peer":{"x":{"HostName":"../x","DNSName":"\n.","TailscaleIPs":["::zz"],"Tags":["tag:sentinel-brain"],"Online":true}}}`)))
		},
	} {
		home := filepath.Join(t.TempDir(), "pve1")
		newBoot(t, home)
		socket := accept(t, "unix", filepath.Join(home, "ts.sock"), func(c net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(c))
			say(c)
		})
		write(t, filepath.Join(home, "config.yaml"), fmt.Sprintf("name: pve1\nstate_dir: %s\nboot_id_file: %s/boot_id\nlogind: off\ntailscaled_socket: %s\n", home, home, socket))
		begun := time.Now()
		out, err := exec.Command(filepath.Join(bins, "node-hook"), "announce", "poweroff", "--config", filepath.Join(home, "config.yaml")).CombinedOutput()
		took := time.Since(begun)
		var wrong []string
		if err == nil || took > 3*time.Second {
			wrong = append(wrong, fmt.Sprintf("%v after %s", err, took))
		}
		if !strings.Contains(string(out), "no brain and no Pi is known") {
			wrong = append(wrong, "does not say that nobody is known")
		}
		if sick := crash(string(out)); sick != "" {
			wrong = append(wrong, sick)
		}
		judge(t, row{target: "answer of tailscaled to announce", abuse: name, answer: fmt.Sprintf("exit 1, %.1f s", took.Seconds()), text: string(out), changed: "nothing"}, wrong)
	}
}

// nis is a record of apcupsd's protocol.
func nis(lines ...string) []byte {
	var out []byte
	for _, l := range lines {
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(l))), l...)
	}
	return out
}

// status is a whole answer with a right header.
func status(lines ...string) []byte {
	lines = append(lines, "END APC  : 2026-11-21 19:00:00 +0000\n")
	size := 0
	for _, l := range lines {
		size += len(l)
	}
	head := fmt.Sprintf("APC      : 001,%03d,%04d\n", len(lines), size)
	return append(nis(append([]string{head}, lines...)...), 0, 0)
}

var onMains = status("STATUS   : ONLINE \n", "BCHARGE  : 100.0 Percent\n", "TIMELEFT : 42.0 Minutes\n", "LASTXFER : No transfers since turnon\n", "NUMXFERS : 0\n", "STATFLAG : 0x05000008\n")

// TestU6_AnswersOfApcupsd has an apcupsd answer badly. What it says is refused, the last
// known supply stands, and the guardian begins nothing.
func TestU6_AnswersOfApcupsd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var mu sync.Mutex
	now := func(c net.Conn) { _, _ = c.Write(onMains) }
	set := func(f func(net.Conn)) {
		mu.Lock()
		defer mu.Unlock()
		now = f
	}
	var asked atomic.Int64
	addr := accept(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
		head := make([]byte, 8)
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		asked.Add(1)
		mu.Lock()
		f := now
		mu.Unlock()
		f(c)
	})
	brain := loadKey(t, filepath.Join(dir, "brain"))
	home := filepath.Join(dir, "pi")
	newBoot(t, home)
	write(t, filepath.Join(home, "config.yaml"), piConfig(home, freeAddr(t), "127.0.0.1:9", string(brain.PublicKey()), addr))
	p := start(t, "pi-proxy", nil, "run", "--config", filepath.Join(home, "config.yaml"))
	p.says(0, `"supply":"mains"`, 5*time.Second)
	rss, before := p.rss(), files(t, home)
	raw := func(data []byte) func(net.Conn) { return func(c net.Conn) { _, _ = c.Write(data) } }
	for _, a := range []struct {
		name  string
		write func(net.Conn)
		says  string // empty: it is taken as far as it makes sense
	}{
		{"closed at once", func(net.Conn) {}, "unexpected EOF"},
		{"garbage", raw(bytes.Repeat([]byte("\xff"), 4096)), "65535 bytes, more than 256"},
		{"HTTP", raw([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")), "more than 256"},
		{"a huge record", raw(append([]byte{0xff, 0xff}, make([]byte, 65535)...)), "more than 256"},
		{"endless records", func(c net.Conn) {
			for err := error(nil); err == nil; {
				_, err = c.Write(nis("X : y\n"))
			}
		}, "more than 512 records"},
		{"no records", raw([]byte{0, 0}), "begin with APC"},
		{"closed in the middle of a record", raw(onMains[:len(onMains)/2]), "unexpected EOF"},
		{"closed between records", raw(onMains[:2+25]), "unexpected EOF"},
		{"a byte a second", func(c net.Conn) { drip(c, onMains) }, "deadline exceeded"},
		{"fewer records than said", raw(append(nis("APC      : 001,009,0400\n", "STATFLAG : 0x05000010\n", "END APC  : x\n"), 0, 0)), "its header says 9"},
		{"no STATFLAG", raw(status("STATUS   : ONBATT \n")), "no STATFLAG"},
		{"STATFLAG is no number", raw(status("STATFLAG : ONBATT\n")), "parse STATFLAG"},
		{"STATFLAG over 32 bits", raw(status("STATFLAG : 0xffffffffffff\n")), "parse STATFLAG"},
		{"an odd version", raw(append(nis("APC      : 999,001,0001\n"), 0, 0)), "begin with APC"},
		{"charge 250 %, time -5, NaN", raw(status("BCHARGE  : 250.0 Percent\n", "TIMELEFT : -5.0 Minutes\n", "LOADPCT  : NaN Percent\n", "LINEV    : 1e400 Volts\n", "STATFLAG : 0x05000008\n")), ""},
		{"texts of control characters", raw(status("LASTXFER : \x1b[31m\x00\xff\n", "MODEL    : \n\n\n\n", "STATFLAG : 0x05000008\n")), ""},
	} {
		mark, n := p.log.mark(), asked.Load()
		set(a.write)
		var wrong []string
		if a.says != "" {
			await(t, a.name+" is said", 8*time.Second, func() bool { return strings.Contains(p.log.since(mark), `"msg":"ups"`) })
		}
		await(t, "the Pi asks on", 12*time.Second, func() bool { return asked.Load() >= n+2 })
		said := p.log.since(mark)
		x := row{target: "answer of apcupsd to the Pi", abuse: a.name, answer: "refused", text: upsErr(said), changed: "the UPS is lost, its supply stands"}
		if a.says == "" {
			x.answer, x.changed = "taken", "nothing; what cannot be is dropped"
		}
		if lines := strings.Count(said, `"msg":"ups"`); a.says != "" && lines != 1 || a.says == "" && lines != 0 {
			wrong = append(wrong, fmt.Sprintf("said %d times", lines))
		}
		if !strings.Contains(said, a.says) {
			wrong = append(wrong, fmt.Sprintf("does not say %q", a.says))
		}
		if strings.Contains(said, `"supply":"battery"`) {
			wrong = append(wrong, "taken for an outage")
		}
		back := p.log.mark()
		set(raw(onMains))
		if a.says != "" {
			await(t, "apcupsd is heard again", 8*time.Second, func() bool { return strings.Contains(p.log.since(back), `"msg":"ups"`) })
		}
		if after := files(t, home); fmt.Sprint(after) != fmt.Sprint(before) {
			wrong = append(wrong, "files changed")
		}
		if sick := p.alive(); sick != "" {
			wrong = append(wrong, sick)
		}
		judge(t, x, wrong)
	}
	judgeMemory(t, p, rss)
}

// upsErr is the error of a log's first line about the UPS.
func upsErr(said string) string {
	for l := range strings.Lines(said) {
		var rec struct {
			Msg string
			Err any
		}
		if json.Unmarshal([]byte(l), &rec) == nil && rec.Msg == "ups" {
			return fmt.Sprint(rec.Err)
		}
	}
	return ""
}
