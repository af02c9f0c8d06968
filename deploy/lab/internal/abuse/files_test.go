//go:build abuse

package abuse_test

import (
	"cmp"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sentinel.home.arpa/shared/wire"
)

// What must come of a broken file: the program refuses to start, or goes on and says so.
const (
	refuses = true
	goesOn  = false
)

// broken is a file, what is wrong with it, and what must come of that.
type broken struct {
	program string // cloud, pi-proxy or node-hook
	file    string // in its directory; config.yaml is the configuration
	name    string
	spoil   func(t *testing.T, dir, path string)
	refuses bool
	says    []string // all of these
	once    string   // said once and not again
	nobody  bool     // the program runs as a user to whom the file does not belong
	known   string
	shows   string                                            // by which the known fault shows
	after   func(t *testing.T, p *program, dir string) string // what is wrong later; empty: nothing
}

// closed makes a journal whole by itself, without the log beside it, before it is spoiled.
func closed(spoil func(*testing.T, string, string)) func(*testing.T, string, string) {
	return func(t *testing.T, dir, path string) {
		sqlDo("PRAGMA wal_checkpoint(TRUNCATE)")(t, dir, path)
		for _, end := range []string{"-wal", "-shm"} {
			_ = os.Remove(path + end)
		}
		spoil(t, dir, path)
	}
}

// unreadable files belong to root and nobody else.
func unreadable(t *testing.T, _, path string) {
	if _, err := os.Stat(path); err != nil {
		write(t, path, "{}")
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
}

func readOnly(t *testing.T, _, path string) {
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
}

func text(s string) func(*testing.T, string, string) {
	return func(t *testing.T, _, path string) { write(t, path, s) }
}

func huge(t *testing.T, _, path string) { write(t, path, strings.Repeat("x", tenMB)) }

func directory(t *testing.T, _, path string) {
	if err := os.MkdirAll(filepath.Join(path, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
}

// directoryInPlace replaces a file by a directory.
func directoryInPlace(t *testing.T, dir, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	directory(t, dir, path)
}

func missing(t *testing.T, _, path string) {
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// edit changes a file's text.
func edit(from, to string) func(*testing.T, string, string) {
	return func(t *testing.T, _, path string) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(data), from, to, 1)
		if changed == string(data) {
			t.Fatalf("%s holds no %q", path, from)
		}
		write(t, path, changed)
	}
}

// cut leaves the first half of a file.
func cutFile(t *testing.T, _, path string) {
	info, err := os.Stat(path)
	if err == nil {
		err = os.Truncate(path, info.Size()/2)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// garbled overwrites a page in the middle of a file.
func garbled(t *testing.T, _, path string) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(strings.Repeat("garbage!", 512)), 4096); err != nil {
		t.Fatal(err)
	}
}

// sqlDo runs a statement on the journal.
func sqlDo(statement string) func(*testing.T, string, string) {
	return func(t *testing.T, _, path string) {
		db, err := sql.Open("sqlite", "file:"+path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
}

// configs are the abuses of every program's configuration.
var configs = []broken{
	{name: "broken YAML", spoil: text("name: [\n  x: {\n"), says: []string{"config.yaml:"}},
	{name: "unknown key", spoil: edit("log:", "sudo: true\nlog:"), says: []string{"config.yaml:", "sudo"}},
	{name: "wrong type", spoil: edit("log: {", "log: 7 # {"), says: []string{"config.yaml:", "log"}},
	{name: "a key twice", spoil: edit("log:", "state_dir: /x\nlog:"), says: []string{"config.yaml:", "state_dir"}},
	{name: "a list in place of the file", spoil: text("- a\n- b\n"), says: []string{"config.yaml:1"}},
	{name: "a directory", spoil: directoryInPlace, says: []string{"config.yaml", "is a directory"}},
	{name: "10 MB", spoil: huge, says: []string{"config.yaml", "larger than"}},
	{name: "binary", spoil: text("\x7fELF\x02\x01\x01\x00\x00\xff\xfe"), says: []string{"config.yaml"}},
	{name: "invalid UTF-8", spoil: edit("log:", "\xff\xfe: 1\nlog:"), says: []string{"config.yaml"}},
	{name: "100,000 levels", spoil: text("log: " + strings.Repeat("[", 100_000)), says: []string{"config.yaml"}},
	{name: "aliases that multiply", spoil: text("a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n"), says: []string{"config.yaml"}},
	{name: "missing", spoil: missing, says: []string{"config.yaml", "no such file"}},
	{name: "unreadable", spoil: unreadable, nobody: true, says: []string{"config.yaml", "permission denied"}},
}

// states are the abuses of every program's key and boot id.
var states = []broken{
	{file: "key", name: "empty", spoil: text(""), refuses: refuses, says: []string{"/key is no key: remove it"}},
	{file: "key", name: "cut in half", spoil: cutFile, refuses: refuses, says: []string{"/key is no key: remove it"}},
	{file: "key", name: "10 MB", spoil: huge, refuses: refuses, says: []string{"/key is no key: remove it"}},
	{file: "key", name: "a directory", spoil: directoryInPlace, refuses: refuses, says: []string{"/key", "is a directory"}},
	{file: "key", name: "unreadable", spoil: unreadable, nobody: true, refuses: refuses, says: []string{"/key", "permission denied"}},
	{file: "key", name: "readable by all", spoil: func(t *testing.T, _, path string) {
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
	}, says: []string{"/key", "can be read by others", "chmod 600"}},
	{file: "boot_id", name: "empty", spoil: text(""), refuses: refuses, says: []string{"boot_id holds no UUID"}},
	{file: "boot_id", name: "garbage", spoil: text("hello\n"), refuses: refuses, says: []string{"boot_id holds no UUID"}},
	{file: "boot_id", name: "missing", spoil: missing, refuses: refuses, says: []string{"boot_id", "no such file"}},
	{file: "boot_id", name: "10 MB", spoil: huge, refuses: refuses, says: []string{"boot_id holds no UUID"}},
}

const record = "000000000007.json"

// ready is what a program says once it is up.
var ready = map[string]string{"cloud": "the brain started", "pi-proxy": `"msg":"brain reached"`, "node-hook": "receiver is reachable"}

// others are the files that one program has.
var others = []broken{
	{program: "cloud", file: "journal.db", name: "zero bytes", spoil: closed(text("")), says: []string{"the journal is empty", "whether the plan is armed"}},
	{program: "cloud", file: "journal.db", name: "no database", spoil: closed(huge), says: []string{"journal.db"}},
	{program: "cloud", file: "journal.db", name: "cut in half", spoil: closed(cutFile), says: []string{"journal.db"}},
	{program: "cloud", file: "journal.db", name: "a garbled page", spoil: closed(garbled), says: []string{"journal"}},
	{program: "cloud", file: "journal.db", name: "a directory", spoil: closed(directoryInPlace), says: []string{"journal.db"}},
	{program: "cloud", file: "journal.db", name: "unreadable", spoil: closed(unreadable), nobody: true, says: []string{"journal.db"}},
	{program: "cloud", file: "journal.db", name: "read-only", spoil: closed(readOnly), nobody: true, says: []string{"journal"}},
	{program: "cloud", file: "journal.db", name: "an unknown fact", spoil: sqlDo(`INSERT INTO facts VALUES (99,1,1,'x',1,'moon_fell',1,'{}')`), refuses: refuses, says: []string{"fact 99", "moon_fell", "does not know"}},
	{program: "cloud", file: "journal.db", name: "a fact's body garbled", spoil: sqlDo(`UPDATE facts SET body='{"x' WHERE n=(SELECT max(n) FROM facts)`), says: []string{"journal"}},
	{program: "cloud", file: "journal.db", name: "a fact of a site that is gone", spoil: sqlDo(`INSERT INTO facts SELECT 98,at,wall,boot,since_boot,'source_appeared',1,'{"Site":"moon","Name":"x","Role":"node"}' FROM facts LIMIT 1`)},
	{program: "cloud", file: "journal.db", name: "a fact of the year 2262", spoil: sqlDo(`INSERT INTO facts SELECT 97,9223372036854775807,9223372036854775807,boot,9223372036854775807,name,1,body FROM facts WHERE name='brain_started' LIMIT 1`)},
	{program: "cloud", file: "copy-of-journal-x", name: "garbage", spoil: text("\x00\xff"), after: gone("copy-of-journal-x")},
	{program: "cloud", file: "copy-of-journal-x", name: "a directory", spoil: directory},
	{program: "cloud", file: "arming-unknown", name: "a directory", spoil: directory},
	{program: "cloud", file: "arming-unknown", name: "10 MB", spoil: huge},
	{program: "cloud", file: "credentials/proxmox-secret", name: "missing", spoil: missing, refuses: refuses, says: []string{"proxmox-secret", "no such file"}},
	{program: "cloud", file: "credentials/proxmox-secret", name: "empty", spoil: text(""), refuses: refuses, says: []string{"proxmox-secret", "empty"}},
	{program: "cloud", file: "credentials/proxmox-secret", name: "10 MB", spoil: huge, refuses: refuses, says: []string{"proxmox-secret", "larger than"}},
	{program: "cloud", file: "control.sock", name: "a file in its place", spoil: text("x"), says: []string{"no control socket", "no socket"}, once: "no control socket"},
	{program: "pi-proxy", file: "control.sock", name: "a file in its place", spoil: text("x"), says: []string{"no control socket", "no socket"}, once: "no control socket"},
	{program: "pi-proxy", file: "bundle.json", name: "empty", spoil: text(""), says: []string{"bundle unreadable"}, once: "bundle unreadable", after: renewed},
	{program: "pi-proxy", file: "bundle.json", name: "garbage", spoil: text("\x00\xff"), says: []string{"bundle unreadable"}, once: "bundle unreadable", after: renewed},
	{program: "pi-proxy", file: "bundle.json", name: "cut in half", spoil: cutFile, says: []string{"bundle unreadable"}, once: "bundle unreadable", after: renewed},
	{program: "pi-proxy", file: "bundle.json", name: "unreadable", spoil: unreadable, nobody: true, says: []string{"bundle unreadable"}, once: "bundle unreadable", after: renewed},
	{program: "pi-proxy", file: "bundle.json", name: "null", spoil: text("null"), after: renewed},
	{program: "pi-proxy", file: "bundle.json", name: "a directory", spoil: directoryInPlace, says: []string{"bundle unreadable", "bundle not stored"}},
	{program: "pi-proxy", file: "bundle.json", name: "a plan of other addresses, old hash", spoil: edit("https://", "http://"), says: []string{"not the one that was stored"}, after: renewed},
	{program: "pi-proxy", file: "seen.json", name: "empty", spoil: text(""), says: []string{"read what was seen"}, once: "read what was seen"},
	{program: "pi-proxy", file: "seen.json", name: "garbage", spoil: text("\x00\xff"), says: []string{"read what was seen"}, once: "read what was seen"},
	{program: "pi-proxy", file: "seen.json", name: "10 MB", spoil: huge, says: []string{"read what was seen", "over the limit"}, once: "read what was seen"},
	{program: "pi-proxy", file: "seen.json", name: "a directory", spoil: directoryInPlace, says: []string{"read what was seen"}, once: "read what was seen"},
	{program: "pi-proxy", file: "record.jsonl", name: "empty", spoil: text("")},
	{program: "pi-proxy", file: "record.jsonl", name: "garbage", spoil: text("\x00\xff\n[]\n{\"n\":\"x\"}\n"), says: []string{"broken lines"}, once: "broken lines", after: notes},
	{program: "pi-proxy", file: "record.jsonl", name: "cut in half", spoil: cutFile, says: []string{"broken lines"}, once: "broken lines", after: notes},
	{program: "pi-proxy", file: "record.jsonl", name: "10 MB in one line", spoil: huge, says: []string{"broken lines"}, once: "broken lines", after: notes},
	{program: "pi-proxy", file: "record.jsonl", name: "a directory", spoil: directoryInPlace, says: []string{"record is unreadable", "record not written"}, once: "record not written"},
	{program: "pi-proxy", file: "record.jsonl", name: "unreadable", spoil: unreadable, nobody: true, says: []string{"record is unreadable", "record not written"}, once: "record not written"},
	{program: "pi-proxy", file: "record.old.jsonl", name: "garbage", spoil: text("\x00\xff\n"), says: []string{"broken lines"}, once: "broken lines", after: notes},
	{program: "pi-proxy", file: "record.old.jsonl", name: "10 MB", spoil: huge, says: []string{"broken lines"}, once: "broken lines", after: notes},
	{program: "pi-proxy", file: "record.cursor.json", name: "empty", spoil: text(""), says: []string{"cursor is unreadable"}, once: "cursor is unreadable", after: notes},
	{program: "pi-proxy", file: "record.cursor.json", name: "garbage", spoil: text("\x00\xff"), says: []string{"cursor is unreadable"}, once: "cursor is unreadable", after: notes},
	{program: "pi-proxy", file: "record.cursor.json", name: "wrong types", spoil: text(`{"delivered":"x"}`), says: []string{"cursor is unreadable"}, once: "cursor is unreadable", after: notes},
	{program: "pi-proxy", file: "record.cursor.json", name: "10 MB", spoil: huge, says: []string{"cursor is unreadable"}, once: "cursor is unreadable", after: notes},
	{program: "pi-proxy", file: "record.cursor.json", name: "a directory", spoil: directoryInPlace, says: []string{"cursor is unreadable"}, once: "cursor is unreadable"},
	{program: "pi-proxy", file: "run.jsonl", name: "garbage", spoil: text("\x00\xff\n"), says: []string{"run ends in a broken step"}, once: "broken step"},
	{program: "pi-proxy", file: "run.jsonl", name: "10 MB in one line", spoil: huge, says: []string{"run ends in a broken step", "run.jsonl.broken"}, once: "broken step"},
	{program: "pi-proxy", file: "run.jsonl", name: "a directory", spoil: directoryInPlace, says: []string{"run unreadable"}, once: "run unreadable"},
	{program: "pi-proxy", file: "run.jsonl", name: "unreadable", spoil: unreadable, nobody: true, says: []string{"run unreadable"}, once: "run unreadable"},
	{program: "pi-proxy", file: "run.jsonl", name: "a step of no run", spoil: text(`{"epoch":{"counter":1,"holder":"pi"},"event":{"type":"sent","target":"x"}}` + "\n")},
	{program: "pi-proxy", file: "spool/" + record, name: "garbage", spoil: text("\x00\xff"), says: []string{"spooled message broken", record}, once: "spooled message broken"},
	{program: "pi-proxy", file: "spool/" + record, name: "cut in half", spoil: func(t *testing.T, dir, path string) { spooled(t, path, 700); cutFile(t, dir, path) }, says: []string{"spooled message broken", record}, once: "spooled message broken"},
	{program: "pi-proxy", file: "spool/" + record, name: "10 MB", spoil: huge, says: []string{"spooled message broken", record}, once: "spooled message broken"},
	{program: "pi-proxy", file: "spool/" + record, name: "a directory", spoil: directory, says: []string{"spooled message broken", record}, once: "spooled message broken"},
	{program: "pi-proxy", file: "spool/" + record, name: "unreadable", spoil: func(t *testing.T, dir, path string) { spooled(t, path, 700); unreadable(t, dir, path) }, nobody: true,
		says: []string{record}, after: stays},
	{program: "pi-proxy", file: "spool/hello.json", name: "wrong name", spoil: text("{}")},
	{program: "pi-proxy", file: "spool/99999999999999999999.json", name: "a number too large", spoil: text("{}")},
	{program: "pi-proxy", file: "spool/" + record, name: "an envelope that is none", spoil: func(t *testing.T, _, path string) { spooled(t, path, 700) }, says: []string{"relayed"}},
	{program: "pi-proxy", file: "spool/" + record, name: "an envelope of 100 KB", spoil: func(t *testing.T, _, path string) { spooled(t, path, 100<<10) }, says: []string{"spooled message broken", record}, after: relays},
	{program: "node-hook", file: "peers.json", name: "empty", spoil: text(""), says: []string{"learnt peers is left aside"}, once: "left aside"},
	{program: "node-hook", file: "peers.json", name: "garbage", spoil: text("\x00\xff"), says: []string{"learnt peers is left aside"}, once: "left aside"},
	{program: "node-hook", file: "peers.json", name: "10 MB", spoil: huge, says: []string{"learnt peers is left aside", "larger than"}, once: "left aside"},
	{program: "node-hook", file: "peers.json", name: "wrong types", spoil: text(`{"brains":7}`), says: []string{"learnt peers is left aside"}, once: "left aside"},
	{program: "node-hook", file: "peers.json", name: "a directory", spoil: directoryInPlace, says: []string{"learnt peers is left aside"}},
	{program: "node-hook", file: "peers.json", name: "unreadable", spoil: unreadable, nobody: true, says: []string{"learnt peers is left aside"}, once: "left aside"},
	{program: "node-hook", file: "peers.json", name: "100,000 levels", spoil: text(strings.Repeat("[", 100_000)), says: []string{"learnt peers is left aside"}, once: "left aside"},
}

// spooled is a well formed record with an envelope that nobody made.
func spooled(t *testing.T, path string, size int) {
	write(t, path, string(marshal(map[string]any{"boot": "x", "wall": time.Now(), "envelope": make([]byte, size)})))
}

// notes tells whether the Pi keeps a record again, with a cursor that can be read.
func notes(t *testing.T, _ *program, dir string) string {
	deadline := time.Now().Add(6 * time.Second)
	for tick := time.NewTicker(50 * time.Millisecond); ; <-tick.C {
		var l, c map[string]any
		lines, _ := os.ReadFile(filepath.Join(dir, "record.jsonl"))
		all := strings.Split(strings.TrimSpace(string(lines)), "\n")
		cursor, _ := os.ReadFile(filepath.Join(dir, "record.cursor.json"))
		if json.Unmarshal([]byte(all[len(all)-1]), &l) == nil && json.Unmarshal(cursor, &c) == nil {
			return ""
		}
		if time.Now().After(deadline) {
			return fmt.Sprintf("nothing is noted: %.200q, %.200q", all[len(all)-1], cursor)
		}
	}
}

// renewed tells whether the Pi got a good bundle in place of a broken one.
func renewed(t *testing.T, p *program, dir string) string {
	deadline := time.Now().Add(4 * time.Second)
	for tick := time.NewTicker(50 * time.Millisecond); ; <-tick.C {
		data, err := os.ReadFile(filepath.Join(dir, "bundle.json"))
		var s struct {
			Hash   string
			Bundle wire.Bundle
		}
		if err == nil && json.Unmarshal(data, &s) == nil {
			if hash, err := s.Bundle.Hash(); err == nil && hash == s.Hash && hash != "" {
				return ""
			}
		}
		if time.Now().After(deadline) {
			return "the bundle is not made good"
		}
	}
}

// gone tells whether a file was removed.
func gone(name string) func(*testing.T, *program, string) string {
	return func(_ *testing.T, _ *program, dir string) string {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return name + " is left"
		}
		return ""
	}
}

// stays tells whether a message still waits under its name.
func stays(_ *testing.T, _ *program, dir string) string {
	if _, err := os.Stat(filepath.Join(dir, "spool", record)); err != nil {
		return "it is set aside"
	}
	return ""
}

// relays tells whether the Pi still relays what it is told.
func relays(t *testing.T, p *program, dir string) string {
	deadline := time.Now().Add(6 * time.Second)
	for tick := time.NewTicker(50 * time.Millisecond); ; <-tick.C {
		left, _ := filepath.Glob(filepath.Join(dir, "spool", "*.json"))
		if len(left) == 0 {
			return ""
		}
		if time.Now().After(deadline) {
			return fmt.Sprintf("%d messages are still in the spool, and said: %s", len(left), tail(p.log.since(0), 200))
		}
	}
}

// TestR5_Files starts each program on each broken file.
func TestR5_Files(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	for _, program := range []string{"cloud", "pi-proxy", "node-hook"} {
		for _, b := range configs {
			b.program, b.file, b.refuses = program, "config.yaml", refuses
			y.try(t, b)
		}
		for _, b := range states {
			b.program = program
			y.try(t, b)
		}
		for _, b := range others {
			if b.program == program {
				y.try(t, b)
			}
		}
		y.reload(t, program)
	}
}

// reload has a running program read each broken configuration: it goes on as it was, and
// says what is wrong. Once the file is right again that is said too.
func (y *yard) reload(t *testing.T, program string) {
	t.Helper()
	dir := y.copyOf(t, program)
	config := filepath.Join(dir, "config.yaml")
	whole, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	p := y.run(t, program, dir, nil)
	defer p.stop()
	p.says(0, ready[program], 10*time.Second)
	for _, b := range slices.Concat(configs, reloads) {
		if b.nobody || b.program != "" && b.program != program {
			continue
		}
		file := filepath.Join(dir, cmp.Or(b.file, "config.yaml"))
		was, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		b.spoil(t, dir, file)
		said, took := hangup(t, p, "was not taken")
		x := row{target: "SIGHUP: " + program + " " + filepath.Base(file), abuse: b.name, answer: "goes on", text: strings.ReplaceAll(why(said), dir, "DIR"), changed: "nothing"}
		var wrong []string
		if !took {
			wrong = append(wrong, "does not say what is wrong")
		}
		for _, s := range append(b.says, "the configuration is wrong and was not taken") {
			if n := strings.Count(said, s); n == 0 || s == "" {
				wrong = append(wrong, fmt.Sprintf("does not say %q", s))
			}
		}
		if sick := p.alive(); sick != "" {
			x.answer = "killed"
			wrong = append(wrong, sick)
		}
		judge(t, x, wrong)
		if err := os.RemoveAll(file); err != nil { // it may be a directory
			t.Fatal(err)
		}
		write(t, file, string(was))
	}
	write(t, config, string(whole))
	if said, right := hangup(t, p, map[bool]string{true: "configuration reloaded", false: "the configuration is right"}[program == "cloud"]); !right {
		t.Errorf("%s: a right configuration is not taken after wrong ones: %s", program, said)
	}
}

// reloads are wrong for a program that runs.
var reloads = []broken{
	{program: "cloud", name: "empty", spoil: text(""), says: []string{"config.yaml"}},
	{program: "cloud", name: "a plan of nothing", spoil: edit("nodes: {pve1:", "nodes: {} # {pve1:"), says: []string{"config.yaml", "plan"}},
	{program: "cloud", name: "a key that is none", spoil: edit("key: \"ed25519:", "key: \"ed25519:x"), says: []string{"config.yaml", "key"}},
	{program: "cloud", name: "silence of 0 s", spoil: edit("silence: 10m", "silence: 0s"), says: []string{"config.yaml", "silence"}},
	{program: "cloud", file: "credentials/proxmox-secret", name: "missing", spoil: missing, says: []string{"proxmox-secret", "no such file"}},
	{program: "cloud", file: "credentials/proxmox-secret", name: "empty", spoil: text(""), says: []string{"proxmox-secret", "empty"}},
	{program: "cloud", file: "credentials/proxmox-secret", name: "a directory", spoil: directoryInPlace, says: []string{"proxmox-secret", "is a directory"}},
	{program: "pi-proxy", name: "another name's UPS twice", spoil: edit("ups: [", "ups: [{name: ups, nis: 127.0.0.1:1}, "), says: []string{"config.yaml", "ups"}},
	{program: "node-hook", name: "a name that is none", spoil: edit("name: pve1", "name: ../x"), says: []string{"config.yaml", "name"}},
}

// hangup sends SIGHUP and gives what a program says of it, which must hold a word.
func hangup(t *testing.T, p *program, word string) (said string, ok bool) {
	t.Helper()
	mark := p.log.mark()
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C {
		said := p.log.since(mark)
		if strings.Contains(said, word) || time.Now().After(deadline) || p.alive() != "" {
			return said, strings.Contains(said, word)
		}
	}
}

// yard is where programs are started on broken files: one of each that is whole, as a
// model, and a brain for the Pi.
type yard struct {
	*house
	models map[string]string // directory by program
}

func newYard(t *testing.T) *yard {
	y := &yard{newHouse(t), map[string]string{}}
	for program, who := range map[string]string{"cloud": "brain", "pi-proxy": "pi"} {
		y.models[program] = y.of(who)
	}
	y.models["node-hook"] = y.of("pve1")
	write(t, y.configOf("pve1"), fmt.Sprintf("name: pve1\nstate_dir: %s\nboot_id_file: %s/boot_id\nlogind: off\nlog: {level: info, format: json}\nbrains: [{address: %q, key: %q}]\n",
		y.of("pve1"), y.of("pve1"), y.page, y.keys["brain"].PublicKey()))
	write(t, filepath.Join(y.of("pve1"), "peers.json"), "{}")
	y.pi.stop() // another takes its place each time
	return y
}

// try starts a copy of the model with one file broken.
func (y *yard) try(t *testing.T, b broken) {
	t.Helper()
	if b.nobody && os.Geteuid() != 0 {
		report.add(row{target: "file: " + b.program + " " + b.file, abuse: b.name, answer: "skipped", text: "only root may give files away"})
		return
	}
	dir := y.copyOf(t, b.program)
	b.spoil(t, dir, filepath.Join(dir, b.file))
	var user *syscall.Credential
	if b.nobody {
		user = giveAway(t, dir, filepath.Join(dir, b.file))
	}
	p := y.run(t, b.program, dir, user)
	defer p.stop()
	x, wrong := b.judge(t, p, dir)
	judge(t, x, wrong)
}

// copyOf is a program's directory, whole, with addresses of its own.
func (y *yard) copyOf(t *testing.T, program string) string {
	t.Helper()
	model := y.models[program]
	top, err := os.MkdirTemp(bins, "") // t.TempDir is for one user
	if err == nil {
		err = os.Chmod(top, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(top, filepath.Base(model))
	copyTree(t, model, dir)
	copyTree(t, y.of("credentials"), filepath.Join(dir, "credentials"))
	addresses := strings.NewReplacer(model, dir)
	if program == "cloud" { // the yard's own brain has the address
		addresses = strings.NewReplacer(model, dir, y.page, freeAddr(t))
	}
	data, err := os.ReadFile(filepath.Join(dir, "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "config.yaml"), addresses.Replace(string(data)))
	return dir
}

func (y *yard) run(t *testing.T, name, dir string, user *syscall.Credential) *program {
	t.Helper()
	return startAs(t, user, name, []string{"CREDENTIALS_DIRECTORY=" + filepath.Join(dir, "credentials")}, "run", "--config", filepath.Join(dir, "config.yaml"))
}

// giveAway gives all but one file to nobody.
func giveAway(t *testing.T, dir, but string) *syscall.Credential {
	const id = 65534
	err := filepath.Walk(dir, func(path string, _ os.FileInfo, err error) error {
		if err != nil || path == but {
			return err
		}
		return os.Chown(path, id, id)
	})
	if err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: id, Gid: id}
}

// judge looks at how the program takes it.
func (b broken) judge(t *testing.T, p *program, dir string) (row, []string) {
	x := row{target: "file: " + b.program + " " + b.file, abuse: b.name, changed: "nothing", known: b.known}
	var wrong []string
	up := func() bool { return strings.Contains(p.log.since(0), ready[b.program]) }
	ended := func() bool {
		select {
		case <-p.ended:
			return true
		default:
			return false
		}
	}
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ; !up() && !ended(); <-tick.C {
		if time.Now().After(deadline) {
			wrong = append(wrong, "neither up nor ended after 10 s")
			break
		}
	}
	x.answer = "goes on"
	if ended() {
		x.answer = fmt.Sprintf("exit %d", p.cmd.ProcessState.ExitCode())
	}
	if b.refuses != ended() || ended() && p.cmd.ProcessState.ExitCode() != 1 {
		wrong = append(wrong, map[bool]string{true: "does not refuse", false: "does not go on"}[b.refuses])
	}
	if b.after != nil && !ended() {
		if what := b.after(t, p, dir); what != "" {
			wrong = append(wrong, what)
			x.changed = what
		}
	}
	said := p.log.since(0)
	for _, s := range b.says {
		for late := time.Now().Add(3 * time.Second); !strings.Contains(said, s) && !ended() && time.Now().Before(late); said = p.log.since(0) {
			<-tick.C // what it finds out at its first use
		}
		if said = p.log.since(0); !strings.Contains(said, s) {
			wrong = append(wrong, fmt.Sprintf("does not say %q", s))
		}
	}
	if n := strings.Count(said, b.once); b.once != "" && n != 1 {
		wrong = append(wrong, fmt.Sprintf("says it %d times", n))
	}
	if b.known != "" && !strings.Contains(said, b.shows) {
		t.Errorf("%s, %s: the fault does not show by %q", x.target, b.name, b.shows)
	}
	if sick := crash(said); sick != "" {
		wrong = append(wrong, sick)
	}
	x.text = strings.ReplaceAll(why(said), dir, "DIR")
	return x, wrong
}

// why is the first complaint of a log.
func why(said string) string {
	for l := range strings.Lines(said) {
		var rec struct{ Level, Msg, Err string }
		if json.Unmarshal([]byte(l), &rec) != nil {
			return strings.TrimSpace(l) // before there is a log
		}
		if rec.Level == "ERROR" || rec.Level == "WARN" {
			return rec.Msg + ": " + rec.Err
		}
	}
	return ""
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.Walk(from, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		dst := filepath.Join(to, strings.TrimPrefix(path, from))
		switch {
		case info.IsDir():
			return os.MkdirAll(dst, 0o700)
		case info.Mode()&os.ModeType != 0:
			return nil // a socket
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(dst, data, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}
