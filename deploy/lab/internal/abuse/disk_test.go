//go:build abuse

package abuse_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// disk is a small one of its own for one program's state.
type disk struct {
	t    *testing.T
	path string
}

func mount(t *testing.T, path string) *disk {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", path, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("a small disk cannot be mounted, so a full one is NOT TESTED: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(path, syscall.MNT_DETACH) })
	return &disk{t, path}
}

// fill leaves not one byte.
func (d *disk) fill() {
	d.t.Helper()
	f, err := os.OpenFile(filepath.Join(d.path, "ballast"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 4096); len(block) > 0; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2]
		} else if err != nil {
			d.t.Fatal(err)
		}
	}
}

func (d *disk) free() {
	if err := os.Remove(filepath.Join(d.path, "ballast")); err != nil {
		d.t.Error(err)
	}
}

const target = "full disk"

// TestA3_FullDisk fills the disks of brain and Pi. What is acknowledged is on a disk, or
// is acted on and said; all is well again once there is room.
func TestA3_FullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	brains, pis := mount(t, filepath.Join(dir, "brain")), mount(t, filepath.Join(dir, "pi"))
	h := newHouseIn(t, dir)
	if r := send("tcp", h.page, post("/api/v1/plan/arm?force=yes", nil)); r.status != 200 { // its Proxmox is none
		t.Fatalf("arm: %s %s", r.answer(), r.text())
	}
	h.pi.says(0, `"armed":true`, 10*time.Second)
	brains.fill()
	pis.fill()
	h.piRefuses()
	h.brainSaysSo()
	h.agentAnnounces()
	h.planBegins()
	h.startOnFull("cloud", "the brain, started again", "")
	h.startOnFull("pi-proxy", "the Pi, started again", "")
	brains.free()
	pis.free()
	h.ups.Plug(true)
	h.brain.stop()
	h.pi.stop()
	h.startBrain()
	h.startPi()
	h.recovers(brains, pis)
}

func (h *house) row(abuse string, r reply, changed string, wrong []string) {
	h.Helper()
	for _, p := range []*program{h.brain, h.pi} {
		if sick := p.alive(); sick != "" {
			wrong = append(wrong, p.name+": "+sick)
		}
	}
	judge(h.T, row{target: target, abuse: abuse, answer: r.answer(), text: r.text(), changed: changed}, wrong)
}

// piRefuses: what is not on disk is not acknowledged.
func (h *house) piRefuses() {
	e := endpoint{addr: h.lan, path: courier.PathAnnounce, kind: wire.KindAnnouncement, by: "pve1"}
	before := files(h.T, h.of("pi"))
	r := send("tcp", h.lan, post(e.path, h.envelope(e)))
	wrong := oneError(r)
	if r.status != 503 || !strings.Contains(r.text(), "disk takes nothing") {
		wrong = append(wrong, "is not refused for want of space")
	}
	if after := files(h.T, h.of("pi")); fmt.Sprint(after) != fmt.Sprint(before) {
		wrong = append(wrong, "files changed")
	}
	h.row("announcement to the Pi", r, "nothing", wrong)
	e.path, e.kind = courier.PathHeartbeat, wire.KindHeartbeat
	r = send("tcp", h.lan, post(e.path, h.envelope(e)))
	wrong = nil
	if r.status != 200 {
		wrong = append(wrong, "a heartbeat is not taken")
	}
	h.row("heartbeat to the Pi", r, "heard", wrong)
}

// brainSaysSo: it goes on from memory, and page and health say so.
func (h *house) brainSaysSo() {
	var r reply
	kinds := []string{"reboot", "cancelled"}
	for i := range 400 { // what the journal has already laid out takes some more
		e := endpoint{addr: h.page, path: courier.PathAnnounce, kind: wire.KindAnnouncement, by: "pve3"}
		m := h.message(e)
		m["kind"] = kinds[i%2]
		r = send("tcp", h.page, post(e.path, seal(e.kind, marshal(m), h.keys["pve3"])))
		if r.status != 200 || strings.Contains(h.get("/api/v1/status"), "journal cannot be written") {
			break
		}
	}
	var wrong []string
	if r.status != 200 {
		wrong = append(wrong, "is not taken")
	}
	if !strings.Contains(h.get("/api/v1/status"), "The journal cannot be written") {
		wrong = append(wrong, "the page says nothing of the journal")
	}
	if ready := h.get("/readyz"); !strings.Contains(ready, `"ready":false`) || !strings.Contains(ready, "full") {
		wrong = append(wrong, "/readyz says "+ready)
	}
	if !strings.Contains(h.get("/metrics"), "sentinel_journal_errors_total") || !h.healthy(h.page) {
		wrong = append(wrong, "no metric, or not healthy")
	}
	h.row("announcement to the brain", r, "in memory; page, /readyz and log say so: "+logged(h.brain, "journal not written"), wrong)
}

// logged is the error of a program's first log line with a message.
func logged(p *program, msg string) string {
	for l := range strings.Lines(p.log.since(0)) {
		if strings.Contains(l, msg) {
			_, rest, _ := strings.Cut(l, `"err":`)
			return strings.TrimSpace(rest)
		}
	}
	return "(nothing)"
}

// agentAnnounces: the Pi refuses, and the brain acknowledges.
func (h *house) agentAnnounces() {
	home := h.of("pve2")
	write(h.T, filepath.Join(home, "config.yaml"), fmt.Sprintf("name: pve2\nsite: home\nstate_dir: %s\nboot_id_file: %s/boot_id\nlogind: off\nbrains: [{address: %q, key: %q}]\npi_proxies: [{name: pi, address: %q, key: %q}]\n",
		home, home, h.page, h.keys["brain"].PublicKey(), h.lan, h.keys["pi"].PublicKey()))
	begun := time.Now()
	out, err := exec.Command(filepath.Join(bins, "node-hook"), "announce", "reboot", "--config", filepath.Join(home, "config.yaml")).CombinedOutput()
	var wrong []string
	if err != nil || !strings.Contains(string(out), "acknowledged by "+h.page+"\n") {
		wrong = append(wrong, fmt.Sprintf("%v: %s", err, out))
	}
	judge(h.T, row{target: target, abuse: "the agent announces to both", answer: fmt.Sprintf("%.1f s", time.Since(begun).Seconds()), text: string(out), changed: "the brain knows"}, wrong)
}

// planBegins: a full disk stops no shutdown.
func (h *house) planBegins() {
	h.ups.Plug(false)
	begun := time.Now()
	await(h.T, "the brain begins the plan", 20*time.Second, func() bool { return strings.Contains(h.get("/api/v1/status"), `"title":"The plan`) })
	judge(h.T, row{target: target, abuse: "the mains go", answer: fmt.Sprintf("plan, %.0f s", time.Since(begun).Seconds()), changed: "the plan begins, from memory"}, nil)
}

// startOnFull kills a program and starts it where nothing can be written.
func (h *house) startOnFull(program, name, known string) {
	p, who := h.brain, "brain"
	if program == "pi-proxy" {
		p, who = h.pi, "pi"
	}
	_ = p.cmd.Process.Kill()
	<-p.ended
	p = start(h.T, program, h.env(), "run", "--config", h.configOf(who))
	ended := false
	up := map[string]string{"cloud": "the brain started", "pi-proxy": `"msg":"starting"`}[program]
	await(h.T, name, 10*time.Second, func() bool {
		select {
		case <-p.ended:
			ended = true
		default:
		}
		return ended || strings.Contains(p.log.since(0), up)
	})
	x := row{target: target, abuse: name, answer: "goes on", text: why(p.log.since(0)), changed: "nothing", known: known}
	var wrong []string
	if ended {
		x.answer = fmt.Sprintf("exit %d", p.cmd.ProcessState.ExitCode())
		wrong = append(wrong, "does not start")
	}
	if sick := crash(p.log.since(0)); sick != "" {
		wrong = append(wrong, sick)
	}
	judge(h.T, x, wrong)
	if who == "brain" {
		h.brain = p
	} else {
		h.pi = p
	}
}

// recovers: once there is room all is written and taken again, without a restart too.
func (h *house) recovers(brains, pis *disk) {
	brains.fill()
	pis.fill()
	h.brainSaysSo()
	facts := h.facts()
	brains.free()
	pis.free()
	await(h.T, "the brain writes again", 10*time.Second, func() bool {
		return strings.Contains(h.get("/readyz"), `"ready":true`) && h.facts() != facts && !strings.Contains(h.get("/api/v1/status"), "journal cannot")
	})
	e := endpoint{addr: h.lan, path: courier.PathAnnounce, kind: wire.KindAnnouncement, by: "pve1"}
	r := send("tcp", h.lan, post(e.path, h.envelope(e)))
	var wrong []string
	if r.status != 200 {
		wrong = append(wrong, "the Pi does not take an announcement")
	}
	await(h.T, "the Pi relays it", 10*time.Second, func() bool {
		left, _ := filepath.Glob(filepath.Join(h.of("pi"), "spool", "*.json"))
		return len(left) == 0
	})
	h.row("room again", r, "the journal has what it missed; the Pi takes and relays", wrong)
}
