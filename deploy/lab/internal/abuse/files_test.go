//go:build abuse

package abuse_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
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

// reload tells a program to read its configuration anew once that is broken. No program can
// yet, so it goes on as it was, and says what to do.
func (y *yard) reload(t *testing.T, program string) {
	t.Helper()
	dir := y.copyOf(t, program)
	config := filepath.Join(dir, "config.yaml")
	p := y.run(t, program, dir, nil)
	p.says(0, ready[program], 10*time.Second)
	write(t, config, "name: [\n")
	mark := p.log.mark()
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	ended := false
	select {
	case <-p.ended:
		ended = true
	case <-time.After(2 * time.Second): // long enough to end, or to say what is wrong
	}
	x := row{target: "file: " + program + " config.yaml", abuse: "SIGHUP, and broken by now", answer: "goes on", text: why(p.log.since(mark)), changed: "nothing"}
	var wrong []string
	if ended {
		x.answer = "killed"
		wrong = append(wrong, "SIGHUP ends it")
	}
	if !strings.Contains(p.log.since(mark), "restart the unit to read the configuration anew") {
		wrong = append(wrong, "does not say what to do")
	}
	p.stop()
	judge(t, x, wrong)
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
	for tick := time.NewTicker(20 * time.Millisecond); !up() && !ended(); <-tick.C {
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
		if s != "" && !strings.Contains(said, s) {
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
