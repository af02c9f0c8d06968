//go:build abuse

package abuse_test

import (
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite" // reads the journal's facts

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/daemon"
	"sentinel.home.arpa/shared/sim/upssim"
	"sentinel.home.arpa/shared/wire"
)

// house is a real brain and a real Pi. The test itself is the nodes pve1 to pve3 and the
// Pi pi2.
type house struct {
	*testing.T
	dir       string
	page, lan string // addresses
	api       string // of a machine of the plan, which echoes
	anchor    string
	ups       *upssim.UPS
	brain, pi *program
	keys      map[string]wire.Key
	boots     map[string]string
	seq       wire.Counter
}

var players = []string{"pve1", "pve2", "pve3", "pi2"}

func newHouse(t *testing.T) *house { return newHouseIn(t, t.TempDir()) }

func newHouseIn(t *testing.T, dir string) *house {
	h := &house{T: t, dir: dir, page: freeAddr(t), lan: freeAddr(t), keys: map[string]wire.Key{}, boots: map[string]string{}}
	for _, who := range append(players, "brain", "pi", "stranger") {
		h.keys[who] = loadKey(t, h.of(who))
		h.boots[who] = newBoot(t, h.of(who))
	}
	write(t, filepath.Join(h.of("credentials"), "proxmox-secret"), "00000000-0000-0000-0000-000000000000\n")
	echo := func(c net.Conn) { _, _ = io.Copy(c, c) }
	h.api, h.anchor = accept(t, "tcp", "127.0.0.1:0", echo), accept(t, "tcp", "127.0.0.1:0", echo)
	nis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.ups = upssim.New(upssim.Config{Name: "ups"})
	var wg sync.WaitGroup
	wg.Go(func() { _ = h.ups.Serve(t.Context(), nis) })
	t.Cleanup(wg.Wait)
	write(t, h.configOf("brain"), h.brainConfig())
	write(t, h.configOf("pi"), piConfig(h.of("pi"), h.lan, h.page, string(h.keys["brain"].PublicKey()), nis.Addr().String()))
	h.startBrain()
	h.startPi()
	h.play()
	return h
}

func (h *house) of(who string) string       { return filepath.Join(h.dir, who) }
func (h *house) configOf(who string) string { return filepath.Join(h.of(who), "config.yaml") }
func (h *house) env() []string              { return []string{"CREDENTIALS_DIRECTORY=" + h.of("credentials")} }

func (h *house) startBrain() {
	h.brain = start(h.T, "cloud", h.env(), "run", "--config", h.configOf("brain"))
	await(h.T, "the brain answers", 10*time.Second, func() bool { return h.healthy(h.page) })
}

func (h *house) startPi() {
	h.pi = start(h.T, "pi-proxy", h.env(), "run", "--config", h.configOf("pi"))
	h.pi.says(0, "brain reached", 10*time.Second)
	await(h.T, "the Pi knows the nodes", 10*time.Second, func() bool {
		return h.good(endpoint{addr: h.lan, path: courier.PathHeartbeat, kind: wire.KindHeartbeat, by: "pve1"}) == 200
	})
}

func (h *house) brainConfig() string {
	text := fmt.Sprintf(`listen: %s
state_dir: %s
boot_id_file: %s/boot_id
control_socket: %s/control.sock
log: {level: info, format: json}
anchors: [%q, %q]
failure: {silence: 10m}
proxmox: {token_id: "sentinel@pve!shutdown", token_secret_file: proxmox-secret}
plan:
  - nodes: {pve1: {api: "https://%s", fingerprint: "%s"}}
sites:
  - name: home
    pi_proxies:
      - {name: pi, address: %q, key: %q}
      - {name: pi2, address: %q, key: %q}
    nodes:
`, h.page, h.of("brain"), h.of("brain"), h.of("brain"), h.api, h.anchor, h.api, strings.Repeat("AB:", 31)+"AB", h.lan, h.keys["pi"].PublicKey(), "127.0.0.1:9", h.keys["pi2"].PublicKey())
	for _, n := range players[:3] {
		text += fmt.Sprintf("      - {name: %s, key: %q}\n", n, h.keys[n].PublicKey())
	}
	return text
}

func piConfig(dir, lan, brain, key, nis string) string {
	return fmt.Sprintf(`name: pi
site: home
state_dir: %s
boot_id_file: %s/boot_id
control_socket: %s/control.sock
log: {level: info, format: json}
brains: [{address: %q, key: %q}]
lan: {listen: %q}
ups: [{name: ups, nis: %q, poll: 500ms}]
`, dir, dir, dir, brain, key, lan, nis)
}

// play has all be heard once. Nobody is missed for 10 min, so that nothing changes while
// the programs are abused.
func (h *house) play() {
	for _, who := range players {
		h.good(endpoint{addr: h.page, path: courier.PathHeartbeat, kind: wire.KindHeartbeat, by: who})
	}
	h.good(endpoint{addr: h.page, path: courier.PathUPS, kind: wire.KindUPS, by: "pi2"})
	await(h.T, "all are up, on mains", 15*time.Second, func() bool {
		s := h.get("/api/v1/status")
		return strings.Count(s, `"condition":"up"`) == 5 && strings.Count(s, `"supply":"mains"`) == 2
	})
	h.confirmed()
}

// confirmed waits until the Pi has said that the plan is on its disk, which comes a heartbeat
// later. pi2 never says so.
func (h *house) confirmed() {
	h.Helper()
	await(h.T, "the Pi has confirmed the plan", 15*time.Second, func() bool {
		return strings.Contains(h.get("/api/v1/status"), `"unconfirmed_by":["pi2"]`)
	})
}

func (h *house) header(by string) wire.Header {
	return wire.Header{V: wire.Version, Site: "home", Node: by, Boot: h.boots[by], Seq: h.seq.Next(daemon.BootTime())}
}

func (h *house) healthy(addr string) bool {
	resp, err := (&http.Client{Timeout: time.Second}).Get("http://" + addr + "/healthz")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func (h *house) get(path string) string {
	resp, err := (&http.Client{Timeout: 2 * time.Second}).Get("http://" + h.page + path)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	data, _ := io.ReadAll(resp.Body)
	return string(data)
}

// state is all that must not change: the brain's status but for times and ages, its
// facts, and the Pi's files.
type state struct {
	status, waiting string
	facts           string
	files           map[string]string
}

func (h *house) state() state {
	var v map[string]any
	if err := json.Unmarshal([]byte(h.get("/api/v1/status")), &v); err != nil {
		h.Error("status: ", err)
	}
	waiting := whoWaits(v["waiting"])
	delete(v, "waiting")
	v["timeline"] = withoutForgeries(v["timeline"])
	if said := fmt.Sprint(v["verdict"]); strings.HasPrefix(said, "All well") || strings.Contains(said, " not been heard for ") {
		delete(v, "verdict") // who keeps still here for some seconds is silent, and no more
		delete(v, "well")
	}
	timeless(v)
	status, _ := json.Marshal(v)
	return state{string(status), waiting, h.facts(), files(h.T, h.of("pi"))}
}

// withoutForgeries leaves out the notice of forged messages, which the third in an hour is
// to make (rule A7).
func withoutForgeries(timeline any) any {
	all, _ := timeline.([]any)
	return slices.DeleteFunc(all, func(x any) bool {
		e, _ := x.(map[string]any)
		return strings.HasPrefix(fmt.Sprint(e["text"]), "somebody signs as ")
	})
}

// whoWaits are the names of those that wait.
func whoWaits(list any) string {
	var names []string
	all, _ := list.([]any)
	for _, x := range all {
		switch x := x.(type) {
		case string:
			names = append(names, x)
		case map[string]any:
			names = append(names, fmt.Sprint(x["name"]))
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// timeless takes away what changes with time alone.
func timeless(v any) {
	switch x := v.(type) {
	case map[string]any:
		punctual(x)
		for _, key := range []string{"at", "age_ns", "for_ns", "runtime_ns", "charge_ratio", "load_ratio", "stale"} {
			delete(x, key)
		}
		for _, y := range x {
			timeless(y)
		}
	case []any:
		for _, y := range x {
			timeless(y)
		}
	}
}

// punctual takes the word late from how a source stands, if it tells its age and nothing
// else.
func punctual(source map[string]any) {
	age, _ := source["age_ns"].(float64)
	words, _ := source["state"].(string)
	if rest, late := strings.CutPrefix(words, "late"); late && source["condition"] == "up" && age > float64(lateAfter) {
		source["state"] = "up" + rest
	}
}

// lateAfter is the age from which on the page calls a source late.
const lateAfter = 3 * time.Second

func (h *house) facts() string {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(h.of("brain"), "journal.db")+"?mode=ro&_pragma=busy_timeout(2000)")
	if err != nil {
		h.Fatal(err)
	}
	defer db.Close()
	var n int
	var name sql.NullString
	if err := db.QueryRow(`SELECT count(*), (SELECT name FROM facts WHERE name != 'noticed' ORDER BY n DESC LIMIT 1) FROM facts WHERE name != 'noticed'`).Scan(&n, &name); err != nil {
		h.Error("facts: ", err)
	}
	return fmt.Sprintf("%d facts, the last %s", n, name.String)
}

// timely files are written as time passes: with the heartbeats that a Pi takes, and when
// they end.
func timely(name string) bool {
	return name == "seen.json" || strings.HasPrefix(strings.TrimPrefix(name, "."), "record.")
}

// files are a directory's files by path, as hashes; sockets are left out.
func files(t *testing.T, dir string) map[string]string {
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || timely(d.Name()) {
			return nil // it may be gone by now
		}
		data, err := os.ReadFile(path)
		if err == nil {
			all[path] = fmt.Sprintf("%x", sha256.Sum256(data))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return all
}

// changed tells what is different; the list of those that wait is told apart.
func (a state) changed(b state) (what []string, waiting bool) {
	if a.status != b.status {
		what = append(what, "status: "+firstDiff(a.status, b.status))
	}
	if a.facts != b.facts {
		what = append(what, a.facts+" -> "+b.facts)
	}
	if !maps.Equal(a.files, b.files) {
		for _, path := range slices.Sorted(maps.Keys(b.files)) {
			if a.files[path] != b.files[path] {
				what = append(what, "the Pi's "+filepath.Base(path))
			}
		}
		if len(b.files) < len(a.files) {
			what = append(what, "a file of the Pi is gone")
		}
	}
	return what, a.waiting != b.waiting
}

func firstDiff(a, b string) string {
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	from := max(0, i-40)
	return fmt.Sprintf("%q -> %q", short(a[from:], 100), short(b[from:], 100))
}

var refusedLine = regexp.MustCompile(`(?m)^sentinel_messages_refused_total\{reason="([a-z-]+)"\} (\d+)$`)

// refused are the counters of refused messages by reason.
func refused(metrics string) map[string]int {
	counts := map[string]int{}
	for _, m := range refusedLine.FindAllStringSubmatch(metrics, -1) {
		counts[m[1]], _ = strconv.Atoi(m[2])
	}
	return counts
}

// counted is the difference of two counts, as words.
func counted(before, after map[string]int) string {
	var out []string
	for _, reason := range slices.Sorted(maps.Keys(after)) {
		if n := after[reason] - before[reason]; n != 0 {
			out = append(out, fmt.Sprintf("%s+%d", reason, n))
		}
	}
	return strings.Join(out, " ")
}

var refusedLog = regexp.MustCompile(`"msg":"(?:message|connect) refused"[^\n]*"reason":"([a-z-]+)"`)

// saidRefused are the reasons that a program logged since a mark.
func (p *program) saidRefused(mark int) map[string]int {
	counts := map[string]int{}
	for _, m := range refusedLog.FindAllStringSubmatch(p.log.since(mark), -1) {
		counts[m[1]]++
	}
	return counts
}
