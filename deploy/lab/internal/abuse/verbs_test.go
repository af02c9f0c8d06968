//go:build abuse

package abuse_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// verb is a word of the brain's command line, misused.
type verb struct {
	name string
	args []string
	exit int
	says string
}

var verbs = []verb{
	{"limit -1", []string{"journal", "--limit=-1"}, 2, "limit"},
	{"limit of 100,001", []string{"journal", "--limit=100001"}, 2, "limit"},
	{"limit that is none", []string{"journal", "--limit=x"}, 2, "--limit"},
	{"since that is no time", []string{"journal", "--since=yesterday"}, 2, "since"},
	{"since of control characters", []string{"journal", "--since=\n\x1b[31m"}, 2, "since"},
	{"since of 99999999d", []string{"journal", "--since=99999999d"}, 2, "since"},
	{"a node that is SQL", []string{"journal", "--node=' OR 1=1 --"}, 0, ""},
	{"an incident of 10 KB", []string{"journal", "--incident=" + strings.Repeat("x", 10<<10)}, 0, ""},
	{"a flag that is none", []string{"journal", "--nodes=pve1"}, 2, "--nodes"},
	{"mute nobody", []string{"mute", "moon"}, 1, "there is no node"},
	{"mute a path", []string{"mute", "../../plan/arm?"}, 1, "there is no node"},
	{"mute a line feed", []string{"mute", "pve1\n"}, 1, "there is no node"},
	{"mute for -1h", []string{"mute", "pve1", "--for=-1h"}, 2, "from 1 minute to 30 days"},
	{"mute for two things", []string{"mute", "pve1", "--for=1h&site=moon"}, 2, "from 1 minute to 30 days"},
	{"unmute nobody", []string{"unmute", "moon"}, 1, "there is no node"},
	{"maintain nobody", []string{"maintain", "moon"}, 1, "moon"},
	{"maintain a site for 5", []string{"maintain", "home", "--for=5"}, 2, "from 1 minute to 30 days"},
	{"delete nobody", []string{"delete", "moon"}, 1, "there is no node"},
	{"delete a path", []string{"delete", "pve1/../pve2"}, 1, "there is no node"},
	{"ack nothing", []string{"ack", "x"}, 1, "is open"},
	{"the timeline of nothing", []string{"timeline", "x"}, 1, "is remembered"},
	{"approve nobody", []string{"approve", "moon"}, 1, "waits to be approved"},
	{"approve a key that is none", []string{"approve", "moon", "--key=&site=home"}, 1, "waits to be approved"},
	{"a backup to nowhere", []string{"backup", "/nowhere/x.db"}, 1, "there is no directory /nowhere"},
	{"a backup onto a directory", []string{"backup", "DIR"}, 1, "the copy was not written"},
	{"a backup onto the journal", []string{"backup", "DIR/journal.db"}, 1, "is in use"},
	{"restore while the brain runs", []string{"restore", "DIR/../copy.db"}, 1, "another brain runs"},
	{"a verb that is none", []string{"explode"}, 2, "explode"},
}

// say runs a verb to its end.
func (h *house) say(v verb, socket string) (row, []string) {
	ctx, cancel := context.WithTimeout(h.Context(), 20*time.Second)
	defer cancel()
	args := []string{"--config", h.configOf("brain"), "--socket", socket}
	for _, a := range v.args {
		args = append(args, strings.ReplaceAll(a, "DIR", h.of("brain")))
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bins, "cloud"), args...)
	cmd.Env = append(os.Environ(), h.env()...)
	begun := time.Now()
	out, err := cmd.CombinedOutput()
	code := 0
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		code = failed.ExitCode()
	}
	said := strings.TrimSpace(string(out))
	last := said[strings.LastIndexByte(said, '\n')+1:] // kong shows the usage first
	var wrong []string
	if code != v.exit {
		wrong = append(wrong, fmt.Sprintf("exit %d instead of %d", code, v.exit))
	}
	if !strings.Contains(last, v.says) || v.exit != 0 && last == "" {
		wrong = append(wrong, fmt.Sprintf("does not say %q", v.says))
	}
	if len(last) > 500 || strings.ContainsAny(last, "\r\x1b\x00") {
		wrong = append(wrong, fmt.Sprintf("an error of %d bytes, or with control characters", len(last)))
	}
	if sick := crash(said); sick != "" {
		wrong = append(wrong, sick)
	}
	return row{target: "verb: " + v.args[0], abuse: v.name, answer: fmt.Sprintf("exit %d, %.1f s", code, time.Since(begun).Seconds()), text: strings.ReplaceAll(last, h.dir, "DIR"), changed: "nothing"}, wrong
}

// TestR2_Verbs misuses the brain's command line, while the brain runs and while it does not.
func TestR2_Verbs(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	socket := filepath.Join(h.of("brain"), "control.sock")
	copied := filepath.Join(h.dir, "copy.db")
	if x, wrong := h.say(verb{"a good one", []string{"backup", copied}, 0, "whole and readable"}, socket); len(wrong) > 0 {
		t.Fatalf("%v: %s", wrong, x.text)
	}
	for _, v := range verbs {
		before := h.state()
		x, wrong := h.say(v, socket)
		if what, _ := before.changed(h.state()); len(what) > 0 {
			wrong = append(wrong, fmt.Sprint(what))
		}
		if left, _ := filepath.Glob(filepath.Join(h.of("brain"), ".*.tmp*")); len(left) > 0 {
			wrong = append(wrong, fmt.Sprintf("left behind: %v", left))
		}
		if sick := h.brain.alive(); sick != "" {
			wrong = append(wrong, sick)
		}
		judge(t, x, wrong)
	}
	h.badBrains()
	h.brain.stop()
	h.restores(copied)
}

// badBrains answer the command line badly, or not at all.
func (h *house) badBrains() {
	for name, serve := range map[string]func(net.Conn){
		"closed":      func(net.Conn) {},
		"garbage":     func(c net.Conn) { _, _ = io.WriteString(c, "\x00\xff\r\n\r\n") },
		"no JSON":     func(c net.Conn) { _, _ = c.Write(http200([]byte("hello"))) },
		"wrong types": func(c net.Conn) { _, _ = c.Write(http200([]byte(`{"sites":7}`))) },
		"20 MB":       func(c net.Conn) { _, _ = c.Write(http200(make([]byte, 2*tenMB))) },
		"500":         func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n") },
		"a redirection": func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
		},
	} {
		socket := accept(h.T, "unix", filepath.Join(h.TempDir(), "s"), func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			serve(c)
		})
		x, wrong := h.say(verb{"of a brain that answers: " + name, []string{"status"}, 1, ""}, socket)
		judge(h.T, x, wrong)
		file := filepath.Join(h.TempDir(), "x.db")
		x, wrong = h.say(verb{"of a brain that answers: " + name, []string{"backup", file}, 1, ""}, socket)
		if _, err := os.Stat(file); err == nil {
			wrong = append(wrong, "there is a copy")
		}
		judge(h.T, x, wrong)
	}
	x, wrong := h.say(verb{"without a brain", []string{"status"}, 1, "does it run"}, filepath.Join(h.dir, "none.sock"))
	judge(h.T, x, wrong)
}

// restores puts files in the place of the journal that are no copies of one.
func (h *house) restores(copied string) {
	h.Helper()
	here := func(*testing.T, string, string) {}
	for _, b := range []broken{
		{name: "missing", spoil: missing, says: []string{"there is no file"}},
		{name: "empty", spoil: text(""), says: []string{"bad.db"}},
		{name: "10 MB of garbage", spoil: huge, says: []string{"is no copy of a journal"}},
		{name: "cut in half", spoil: cutFile, says: []string{"bad.db"}},
		{name: "a garbled page", spoil: garbled, says: []string{"bad.db"}},
		{name: "a directory", spoil: directoryInPlace, says: []string{"bad.db"}},
		{name: "a pipe", spoil: pipe, says: []string{"bad.db"}},
		{name: "a newer version's", spoil: sqlDo(`INSERT INTO facts VALUES (99,1,1,'x',1,'moon_fell',1,'{}')`), says: []string{"newer"}},
		{name: "without facts", spoil: sqlDo(`DELETE FROM facts`), says: []string{"bad.db"}},
		{name: "another program's", spoil: func(t *testing.T, d, path string) {
			missing(t, d, path)
			sqlDo(`CREATE TABLE facts (x)`)(t, d, path)
		}, says: []string{"bad.db"}},
		{name: "the journal itself", spoil: func(t *testing.T, d, path string) {
			missing(t, d, path)
			if err := os.Symlink(filepath.Join(h.of("brain"), "journal.db"), path); err != nil {
				t.Fatal(err)
			}
		}, says: []string{"is the brain's journal itself"}},
		{name: "a good one", spoil: here, says: []string{"Start the brain, then arm or disarm the plan again"}},
	} {
		file := filepath.Join(h.TempDir(), "bad.db")
		data, err := os.ReadFile(copied)
		if err != nil {
			h.Fatal(err)
		}
		write(h.T, file, string(data))
		b.spoil(h.T, h.dir, file)
		exit := 1
		if b.name == "a good one" {
			exit = 0
		}
		before := files(h.T, h.of("brain"))
		x, wrong := h.say(verb{b.name, []string{"restore", file}, exit, b.says[0]}, "")
		after := files(h.T, h.of("brain"))
		if same := maps.Equal(before, after); same != (exit != 0) {
			wrong = append(wrong, fmt.Sprintf("the brain's files: %v", slices.Sorted(maps.Keys(after))))
		}
		judge(h.T, x, wrong)
	}
}

func pipe(t *testing.T, dir, path string) {
	missing(t, dir, path)
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
}
