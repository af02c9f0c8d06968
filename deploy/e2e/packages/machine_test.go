//go:build packages

package packages

import (
	"context"
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
	"sentinel.home.arpa/deploy/internal/forge"
)

// The versions that are packed.
const (
	older = "0.0.1"
	newer = "0.0.2"
)

// patience bounds what a slow machine may take for something that is seconds at most.
const patience = 2 * time.Minute

// site is where machines stand.
type site struct {
	t      *testing.T
	forge  *forge.Forge
	ground *ground.Ground
	net    *network.Network
	store  *layers.Store
	debs   string
}

func open(t *testing.T) *site {
	if os.Geteuid() != 0 {
		t.Skip("booting machines needs root: whether packages install, upgrade and leave nothing is NOT TESTED")
	}
	s := &site{t: t, forge: forge.New()}
	t.Cleanup(s.forge.Close)
	var err error
	must := func() {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	s.ground, err = ground.Open(t.Context(), s.forge)
	must()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.ground.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	s.net, err = network.Open(t.Context(), s.forge, s.ground.Name)
	must()
	cache, err := os.UserCacheDir()
	must()
	s.store = &layers.Store{Cache: filepath.Join(cache, "sentinel-e2e"), Dir: filepath.Join(s.ground.Dir, "layers"),
		Mirror: layers.DefaultMirror, Forge: s.forge, Log: t.Logf}
	if mirror := os.Getenv("SENTINEL_E2E_MIRROR"); mirror != "" {
		s.store.Mirror = mirror
	}
	err = os.MkdirAll(s.store.Dir, 0o755)
	must()
	s.make()
	return s
}

// make packs both versions for this machine's architecture.
func (s *site) make() {
	s.t.Helper()
	if s.debs = os.Getenv("SENTINEL_E2E_DEBS"); s.debs == "" {
		s.debs = filepath.Join(s.ground.Dir, "debs")
	}
	arch, err := s.forge.Run(s.t.Context(), "dpkg", "--print-architecture")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, version := range []string{older, newer} {
		if found, _ := filepath.Glob(filepath.Join(s.debs, "*_"+version+"_*.deb")); len(found) == 4 {
			continue
		}
		begin := time.Now()
		cmd := exec.CommandContext(s.t.Context(), "make", "packages", "VERSION="+version, "DEBS="+strings.TrimSpace(arch), "DIST="+s.debs)
		cmd.Dir = "../../.."
		if _, err := s.forge.Output(cmd); err != nil {
			s.t.Fatal(err)
		}
		s.t.Logf("packages of %s: %.0f s", version, time.Since(begin).Seconds())
	}
}

// deb is a package's file as a machine sees it.
func (s *site) deb(name, version string) string {
	s.t.Helper()
	found, _ := filepath.Glob(filepath.Join(s.debs, name+"_"+version+"_*.deb"))
	if len(found) != 1 {
		s.t.Fatalf("%s %s is packed as %q", name, version, found)
	}
	return "/media/" + filepath.Base(found[0])
}

// machine is a Debian that is on.
type machine struct {
	*testing.T
	*guest.Guest
}

// boot boots a Debian that has the packages' files beside it.
func (s *site) boot(t *testing.T, base layers.Base) *machine {
	t.Helper()
	lower, err := s.store.Lower(t.Context(), base)
	if err != nil {
		t.Fatal(err)
	}
	groups, err := s.ground.Groups(base.Suite)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(s.ground.Dir, base.Suite)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	g, err := guest.New(s.forge, s.net, dir, guest.Spec{Name: base.Suite, Lower: lower, Bridge: network.LAN, Groups: groups,
		Args: []string{"--bind-ro=" + s.debs + ":/media"}})
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{t, g}
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := s.forge.Run(context.Background(), "journalctl", "-q", "--no-pager", "-D", g.Disk("/var/log/journal"), "-n", "60", "-u", "sentinel-*")
			t.Log(text)
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := g.PowerOn(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := g.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return m
}

// try runs a command, whose standard input is nothing.
func (m *machine) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(m.Context(), patience)
	defer cancel()
	out, err := m.Exec(ctx, args...)
	return strings.TrimSpace(out), err
}

// run runs a command that must succeed.
func (m *machine) run(args ...string) string {
	m.Helper()
	out, err := m.try(args...)
	if err != nil {
		m.Fatal(err)
	}
	return out
}

// put writes a file.
func (m *machine) put(path, text string) {
	m.Helper()
	root, err := m.Root()
	if err == nil {
		err = os.MkdirAll(filepath.Dir(root+path), 0o755)
	}
	if err == nil {
		err = os.WriteFile(root+path, []byte(text), 0o600)
	}
	if err != nil {
		m.Fatal(err)
	}
}

// get reads a file.
func (m *machine) get(path string) string {
	m.Helper()
	root, err := m.Root()
	if err != nil {
		m.Fatal(err)
	}
	text, err := os.ReadFile(root + path)
	if err != nil {
		m.Errorf("%s: %v", path, err)
	}
	return string(text)
}

// unit is a property of a unit.
func (m *machine) unit(name, property string) string {
	m.Helper()
	return m.run("systemctl", "show", "-P", property, name)
}

// active demands that units are, or are not.
func (m *machine) active(want string, units ...string) {
	m.Helper()
	for _, u := range units {
		if got := m.unit(u, "ActiveState"); got != want {
			out, _ := m.try("systemctl", "status", "--no-pager", u)
			m.Errorf("%s is %s, want %s:\n%s", u, got, want, out)
		}
	}
}

// enabled demands that units are, or are not.
func (m *machine) enabled(want string, units ...string) {
	m.Helper()
	for _, u := range units {
		if got := m.unit(u, "UnitFileState"); got != want {
			m.Errorf("%s is %s, want %s", u, got, want)
		}
	}
}

// files are all that the machine has, but for what any machine writes, what dpkg knows by
// itself, and what the kernel shows; and the lines of those that name users.
func (m *machine) files() []string {
	m.Helper()
	found := m.run("find", "/", "-xdev", "(", "-path", "/proc", "-o", "-path", "/sys", "-o", "-path", "/run", "-o", "-path", "/tmp", "-o", "-path", "/dev",
		"-o", "-path", "/media", "-o", "-path", "/var/log", "-o", "-path", "/var/tmp", "-o", "-path", "/var/lib/dpkg", "-o", "-path", "/var/lib/systemd",
		"-o", "-path", "/var/cache", ")", "-prune", "-o", "-print")
	all := strings.Split(found, "\n")
	for _, path := range []string{"/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow"} {
		for line := range strings.Lines(m.get(path)) {
			all = append(all, path+": "+strings.TrimSpace(line))
		}
	}
	slices.Sort(all)
	return all
}

// status is what dpkg says of a package, such as "ii".
func (m *machine) status(name string) string {
	out, err := m.try("dpkg-query", "-W", "-f", "${db:Status-Abbrev}", name)
	if err != nil { // it knows nothing of it
		return ""
	}
	return out
}

// until waits for a condition.
func (m *machine) until(what string, ok func() bool) {
	m.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late.C:
			m.Fatalf("%s: not within %v", what, patience)
		case <-m.Context().Done():
			m.Fatal(m.Context().Err())
		}
	}
}
