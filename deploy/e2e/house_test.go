//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/deploy/e2e/internal/ground"
	"sentinel.home.arpa/deploy/e2e/internal/guest"
	"sentinel.home.arpa/deploy/e2e/internal/layers"
	"sentinel.home.arpa/deploy/e2e/internal/network"
	"sentinel.home.arpa/deploy/e2e/internal/tap"
	"sentinel.home.arpa/deploy/internal/forge"
	"sentinel.home.arpa/shared/wire"
)

// patience bounds what a slow machine may take for something that is seconds at most.
const patience = 90 * time.Second

// poll is how often a condition is looked at.
const poll = 100 * time.Millisecond

// house is a booted house: its machines, its network, and those who watch it.
type house struct {
	t      *testing.T
	ctx    context.Context
	forge  *forge.Forge
	ground *ground.Ground
	net    *network.Network
	tap    *tap.Tap
	store  *layers.Store
	out    *outside
	bin    string // the programs
	cache  string
	keys   map[string]wire.PublicKey

	router, cloud, pi *guest.Guest
	all               []*guest.Guest
}

// openHouse builds the programs and lays the network. Nothing is booted yet.
func openHouse(t *testing.T) *house {
	if os.Geteuid() != 0 {
		t.Skip("booting machines needs root: what happens on a real machine is NOT TESTED")
	}
	missingTools(t)
	h := &house{t: t, ctx: t.Context(), forge: forge.New(), keys: map[string]wire.PublicKey{}}
	t.Cleanup(h.forge.Close)
	var err error
	if h.ground, err = ground.Open(h.ctx, h.forge); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.close)
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	h.cache = filepath.Join(cache, "sentinel-e2e")
	h.store = &layers.Store{Cache: h.cache, Dir: h.dir("layers"), Mirror: layers.DefaultMirror, Forge: h.forge, Log: t.Logf}
	if mirror := os.Getenv("SENTINEL_E2E_MIRROR"); mirror != "" {
		h.store.Mirror = mirror
	}
	h.timed("programs", func() string { h.build(); return "built" })
	if h.net, err = network.Open(h.ctx, h.forge, h.ground.Name); err != nil {
		t.Fatal(err)
	}
	h.startOutside()
	h.listen()
	return h
}

// missingTools fails with what the host lacks.
func missingTools(t *testing.T) {
	t.Helper()
	var packages []string
	for tool, in := range map[string]string{"debootstrap": "debootstrap", "systemd-nspawn": "systemd-container", "journalctl": "systemd",
		"tcpdump": "tcpdump", "ip": "iproute2", "zstd": "zstd", "tar": "tar", "nsenter": "util-linux", "unshare": "util-linux"} {
		if _, err := exec.LookPath(tool); err != nil && !slices.Contains(packages, in) {
			packages = append(packages, in)
		}
	}
	if slices.Sort(packages); len(packages) > 0 {
		t.Fatalf("the host lacks some tools: apt-get install %s", strings.Join(packages, " "))
	}
}

// dir makes a directory of this run.
func (h *house) dir(name string) string {
	h.t.Helper()
	path := filepath.Join(h.ground.Dir, name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// close takes all machines' power, keeps what a failure has to be understood by, and
// removes the rest.
func (h *house) close() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, g := range h.all {
		if err := g.Close(); err != nil {
			h.t.Error(err)
		}
	}
	if h.tap != nil {
		h.tap.Close()
	}
	if h.out != nil {
		h.out.close()
	}
	h.explain(ctx)
	if err := h.ground.Close(ctx); err != nil {
		h.t.Error(err)
	}
}

// explain prints the programs' last lines if the test failed, and copies everything to the
// directory in SENTINEL_E2E_LOGS if it is set.
func (h *house) explain(ctx context.Context) {
	keep := os.Getenv("SENTINEL_E2E_LOGS")
	if keep != "" {
		keep = filepath.Join(keep, h.t.Name())
		if err := os.MkdirAll(keep, 0o755); err != nil {
			h.t.Error(err)
		}
		_, _ = h.forge.Run(ctx, "cp", h.ground.Dir+"/lan.txt", keep) // it may not be there yet
	}
	for _, g := range h.all {
		journal := []string{"journalctl", "-q", "--no-pager", "-o", "short-precise", "-D", g.Disk("/var/log/journal")}
		if keep != "" {
			if text, err := h.forge.Run(ctx, journal...); err == nil {
				_ = os.WriteFile(filepath.Join(keep, g.Name+".journal"), []byte(text), 0o644)
			}
			_, _ = h.forge.Run(ctx, "cp", g.Console(), filepath.Join(keep, g.Name+".console"))
		}
		if h.t.Failed() {
			text, err := h.forge.Run(ctx, append(journal, "-n", "25", "-u", "sentinel-*", "-u", "tailscaled")...)
			if err != nil { // it may never have got so far as to have one
				text, _ = h.forge.Run(ctx, "tail", "-n", "15", g.Console())
			}
			h.t.Logf("%s:\n%s", g.Name, text)
		}
	}
}

// build compiles the programs from this module, unless SENTINEL_E2E_BIN names a directory
// that has them.
func (h *house) build() {
	h.t.Helper()
	h.bin = h.dir("bin")
	type program struct{ name, pkg, tags string }
	for _, p := range []program{
		{"sentinel-cloud", "./cloud", ""}, {"sentinel-pi", "./pi-proxy", ""}, {"sentinel-node", "./node-hook", ""},
		{"sentinel-node-tsnet", "./node-hook", "tsnet"},
		{"outside", "./deploy/e2e/outside", ""}, {"upsline", "./deploy/e2e/upsline", ""},
	} {
		to := filepath.Join(h.bin, p.name)
		if from := os.Getenv("SENTINEL_E2E_BIN"); from != "" {
			if _, err := h.forge.Run(h.ctx, "cp", filepath.Join(from, p.name), to); err == nil {
				continue
			}
		}
		cmd := exec.CommandContext(h.ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-tags", p.tags, "-o", to, p.pkg)
		cmd.Dir = "../.."
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if _, err := h.forge.Output(cmd); err != nil {
			h.t.Fatal(err)
		}
	}
}

// tailscaled builds the host's tailscale from the module that the programs use, and
// returns the directory with both binaries.
func (h *house) tailscaled() string {
	h.t.Helper()
	cmd := exec.CommandContext(h.ctx, "go", "list", "-m", "-f", "{{.Version}} {{.Dir}}", "tailscale.com")
	cmd.Dir = "../.."
	text, err := h.forge.Output(cmd)
	var version, source string
	if err == nil {
		_, err = fmt.Sscan(text, &version, &source)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	to := filepath.Join(h.cache, "tailscale-"+version)
	if _, err := os.Stat(filepath.Join(to, "tailscaled")); err == nil {
		return to
	}
	// It only builds as a main module of its own.
	copied := filepath.Join(h.ground.Dir, "tailscale")
	if _, err := h.forge.Run(h.ctx, "cp", "-r", "--no-preserve=mode", source, copied); err != nil {
		h.t.Fatal(err)
	}
	for _, name := range []string{"tailscale", "tailscaled"} {
		cmd := exec.CommandContext(h.ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", copied+".bin/", "./cmd/"+name)
		cmd.Dir, cmd.Env = copied, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod")
		if _, err := h.forge.Output(cmd); err != nil {
			h.t.Fatal(err)
		}
	}
	if _, err := h.forge.Run(h.ctx, "sh", "-euc", `mkdir -p "$1"; cp "$0"/tailscale "$1"/; cp "$0"/tailscaled "$1"/t; mv "$1"/t "$1"/tailscaled`, copied+".bin", to); err != nil {
		h.t.Fatal(err)
	}
	return to
}

// listen puts ears on the LAN; hears waits until they are open.
func (h *house) listen() {
	h.t.Helper()
	var err error
	h.tap, err = tap.Open(h.forge,
		h.net.Command(context.Background(), "tcpdump", "-i", network.LAN, "-l", "-tt", "-n", "-A", "-s", "0", "tcp port 7777"),
		h.net.Command(context.Background(), "ip", "-ts", "-o", "monitor", "link"), filepath.Join(h.ground.Dir, "lan.txt"))
	if err != nil {
		h.t.Fatal(err)
	}
}

// hears waits until anything is heard on the LAN, such as a heartbeat.
func (h *house) hears() {
	h.t.Helper()
	h.until("something is heard on the LAN", patience, h.tap.Hears)
}

// key makes a machine's key as Ansible would, and returns the file for its disk.
func (h *house) key(machine, stateDir string) guest.File {
	h.t.Helper()
	dir := h.dir("keys/" + machine)
	key, err := wire.LoadKey(dir)
	if err != nil {
		h.t.Fatal(err)
	}
	h.keys[machine] = key.PublicKey()
	return guest.File{Path: stateDir + "/key", From: filepath.Join(dir, "key"), Mode: 0o600}
}

// machine makes a machine. It is off.
func (h *house) machine(spec guest.Spec) *guest.Guest {
	h.t.Helper()
	groups, err := h.ground.Groups(spec.Name)
	if err != nil {
		h.t.Fatal(err)
	}
	spec.Groups = groups
	g, err := guest.New(h.forge, h.net, h.dir(spec.Name), spec)
	if err != nil {
		h.t.Fatal(err)
	}
	h.all = append(h.all, g)
	return g
}

// lower unpacks a machine's file systems.
func (h *house) lower(base layers.Base, packages ...string) string {
	h.t.Helper()
	lower, err := h.store.Lower(h.ctx, base, packages...)
	if err != nil {
		h.t.Fatal(err)
	}
	return lower
}

// on switches a machine on and waits until it has booted.
func (h *house) on(g *guest.Guest) {
	h.t.Helper()
	if err := g.PowerOn(); err != nil {
		h.t.Fatal(err)
	}
	h.ready(g)
}

// allOn switches all machines on at once.
func (h *house) allOn() {
	h.t.Helper()
	for _, g := range h.all {
		if err := g.PowerOn(); err != nil {
			h.t.Fatal(err)
		}
	}
	for _, g := range h.all {
		h.ready(g)
	}
}

func (h *house) ready(g *guest.Guest) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.ctx, patience)
	defer cancel()
	if err := g.Ready(ctx); err != nil {
		h.t.Fatal(err)
	}
}

// exec runs a command on a machine, which must succeed.
func (h *house) exec(g *guest.Guest, args ...string) string {
	h.t.Helper()
	out, err := h.try(g, args...)
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

// try runs a command on a machine that may well not live to its end.
func (h *house) try(g *guest.Guest, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(h.ctx, 20*time.Second)
	defer cancel()
	return g.Exec(ctx, args...)
}

// address is the machine's on the LAN.
func (h *house) address(g *guest.Guest) netip.Addr {
	h.t.Helper()
	text := h.exec(g, "ip", "-4", "-o", "addr", "show", "dev", "host0", "scope", "global")
	for _, word := range strings.Fields(text) {
		if p, err := netip.ParsePrefix(word); err == nil {
			return p.Addr()
		}
	}
	h.t.Fatalf("%s has no address: %q", g.Name, text)
	return netip.Addr{}
}

// timed prints one line: what was done, how long it took and what was seen.
func (h *house) timed(what string, do func() string) {
	h.t.Helper()
	begin := time.Now()
	seen := do()
	h.t.Logf("%-44s %6.1f s  %s", what, time.Since(begin).Seconds(), seen)
}

// until waits for a condition.
func (h *house) until(what string, within time.Duration, ok func() bool) {
	h.t.Helper()
	late := time.NewTimer(within)
	defer late.Stop()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late.C:
			h.t.Fatalf("%s: not within %v", what, within)
		case <-h.ctx.Done():
			h.t.Fatal(h.ctx.Err())
		}
	}
}
