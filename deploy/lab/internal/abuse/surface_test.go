//go:build abuse

package abuse_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"sentinel.home.arpa/shared/courier"
)

// knob is a button of the page, or what else only an admin may ask for. %s in its path is
// the name of what it is about.
type knob struct{ method, path, name string }

var knobs = []knob{
	{"POST", "/api/v1/nodes/%s/mute", "pve1"},
	{"POST", "/api/v1/nodes/%s/unmute", "pve1"},
	{"POST", "/api/v1/nodes/%s/maintain", "pve1"},
	{"POST", "/api/v1/nodes/%s/maintained", "pve1"},
	{"POST", "/api/v1/nodes/%s/approve", "stranger"},
	{"DELETE", "/api/v1/nodes/%s", "pve1"},
	{"POST", "/api/v1/sites/%s/maintain", "home"},
	{"POST", "/api/v1/sites/%s/maintained", "home"},
	{"GET", "/api/v1/backup", ""},
	{"GET", "/api/v1/plan", ""},
	{"GET", "/api/v1/plan/check", ""},
	{"GET", "/api/v1/plan/simulate", ""},
	{"GET", "/api/v1/doctor", ""},
	{"POST", "/api/v1/plan/stop", ""},
	{"POST", "/api/v1/plan/network", ""},
	{"POST", "/api/v1/plan/dismiss", ""},
	{"POST", "/api/v1/test/call", ""},
	{"POST", "/plan/stop", ""},
	{"POST", "/api/v1/test/notice", ""},
	{"POST", "/api/v1/test/sms", ""},
}

func (k knob) of(name string) string { return strings.Replace(k.path, "%s", name, 1) }

func (k knob) pressed(name string, headers ...string) func(*house) []byte {
	name, query, asked := strings.Cut(name, "?")
	path := k.of(name)
	if asked {
		path += "?" + query
	}
	return line(k.method+" "+path, append(headers, "Content-Length: 0")...)
}

// forged are what another site's page, and another method, make of it.
func (k knob) forged() []shape {
	other := "DELETE"
	if k.method == other {
		other = "POST"
	}
	rebound := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: evil.example:8080\r\nOrigin: http://evil.example:8080\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 0\r\n\r\n", k.method, k.of(k.name))
	return []shape{
		{name: "from another site's page", make: k.pressed(k.name, "Origin: http://evil.example"), status: []int{403}, says: "own page", reason: "forbidden"},
		{name: "cross-site says the browser", make: k.pressed(k.name, "Sec-Fetch-Site: cross-site"), status: []int{403}, says: "own page", reason: "forbidden"},
		{name: "Origin: null", make: k.pressed(k.name, "Origin: null"), status: []int{403}, says: "own page", reason: "forbidden"},
		{name: "by a name that was rebound", make: raw(rebound), status: []int{403, 421}, says: "own page", reason: "forbidden"},
		{name: "by " + other, make: line(other+" "+k.of(k.name), "Content-Length: 0"), status: []int{405}},
	}
}

// misnamed are names that nobody has, and parameters that no button takes.
func (k knob) misnamed() []shape {
	says := "there is no"
	if strings.HasSuffix(k.path, "/approve") {
		says = "waits to be approved"
	}
	var out []shape
	for what, name := range map[string]string{"nobody": "moon", "a path": "%2e%2e%2f%2e%2e%2fetc", "control characters": "%0a%1b%5b31m%00", "invalid UTF-8": "%ff%fe",
		"a name of 10 KB": strings.Repeat("x", 10<<10)} {
		out = append(out, shape{name: what, make: k.pressed(name), status: []int{404}, says: says, reason: "unknown"})
	}
	out = append(out, shape{name: "10 MB, for nobody", make: func(*house) []byte {
		return []byte(strings.Replace(string(post(k.of("moon"), make([]byte, tenMB))), "POST", k.method, 1))
	}, status: []int{400}, says: "takes no body", reason: "malformed"})
	for what, q := range map[string]struct{ query, says string }{
		"an unknown parameter": {"sudo=1", "is not known here"}, "a parameter twice": {"site=home&site=home", "site"},
		"a broken parameter": {"site=%zz", "cannot be read"}, "a parameter of 10 KB": {strings.Repeat("x", 10<<10) + "=1", "is not known here"},
	} {
		out = append(out, shape{name: what, make: k.pressed(k.name + "?" + q.query), status: []int{400}, says: q.says, reason: "malformed"})
	}
	return append(out, shape{name: "no name", make: k.pressed(""), status: []int{301, 307, 404, 405}, plain: true})
}

// lasting are times for which nothing can last.
func (k knob) lasting() []shape {
	var out []shape
	for _, d := range []string{"0", "5", "-1h", "59s", "31d", "1e400h", "NaN", "9999999999999h", "99999d", "soon", "%0a%1b%5b31m", strings.Repeat("9", 10<<10) + "h"} {
		out = append(out, shape{name: short("for "+d, 30), make: k.pressed(k.name + "?for=" + d), status: []int{400}, says: "from 1 minute to 30 days", reason: "malformed"})
	}
	return out
}

// surface is what people press and read, misused.
func surface() []shape {
	var all []shape
	add := func(target, what string, shapes ...shape) {
		for _, s := range shapes {
			s.target, s.name = target, strings.TrimPrefix(what+", "+s.name, ", ")
			all = append(all, s)
		}
	}
	for _, k := range knobs {
		what := k.method + " " + k.of("NAME")
		add(onBrain, what, k.forged()...)
		if k.name == "" {
			continue
		}
		add(onBrain, what, k.misnamed()...)
		add(onControl, what, k.misnamed()[0])
		if strings.HasSuffix(k.path, "/mute") || strings.HasSuffix(k.path, "/maintain") {
			add(onBrain, what, k.lasting()...)
		}
	}
	add(onBrain, "", shape{name: "DELETE of another site's node", make: line("DELETE /api/v1/nodes/pve1?site=moon"), status: []int{404}, says: "there is no node", reason: "unknown"},
		shape{name: "arm for a while", make: line("POST /api/v1/plan/arm?for=2h", "Content-Length: 0"), status: []int{400}, says: "is not known here", reason: "malformed"},
		shape{name: "approve by a key that is none", make: line("POST /api/v1/nodes/stranger/approve?key=../x", "Content-Length: 0"), status: []int{404}, says: "waits to be approved", reason: "unknown"})
	for _, route := range []string{"status", "incidents", "incidents/x", "nodes", "calls", "digest", "journal", "backup", "plan", "plan/check", "plan/simulate"} {
		add(onBrain, "/api/v1/"+route, shape{name: "by PUT", make: line("PUT /api/v1/"+route, "Content-Length: 0"), status: []int{405}})
	}
	add(onBrain, "GET /api/v1/digest", shape{name: "an unknown parameter", make: line("GET /api/v1/digest?site=home"), status: []int{400}, says: "is not known here", reason: "malformed"})
	add(onBrain, "", planned()...)
	for what, id := range map[string]string{"unknown": "home-power-20261121T190211Z", "a path": "%2e%2e%2f%2e%2e%2fetc", "control characters": "%0a%1b%5b31m%00", "10 KB": strings.Repeat("x", 10<<10)} {
		add(onBrain, "GET /api/v1/incidents/ID", shape{name: what, make: line("GET /api/v1/incidents/" + id), status: []int{404}, says: "is remembered"})
	}
	for _, q := range []struct{ query, says string }{
		{"limit=0", "limit"}, {"limit=-1", "limit"}, {"limit=100001", "limit"}, {"limit=1e3", "limit"}, {"limit=99999999999999999999", "limit"},
		{"since=yesterday", "since"}, {"since=-5h", "since"}, {"since=99999999d", "since"}, {"until=2026-13-01", "until"}, {"since=1h&until=2h", "until is before since"},
		{"since=%0a%1b%5b31m%00", "since"}, {"since=" + strings.Repeat("x", 10<<10), "since"},
		{"nodes=pve1", "is not known here"}, {"node=%zz", "cannot be read"}, {"site=home;limit=1", "cannot be read"}, {"limit=1&limit=2", "2 times"},
	} {
		add(onBrain, "GET /api/v1/journal", shape{name: short(q.query, 40), make: line("GET /api/v1/journal?" + q.query), status: []int{400}, says: q.says})
	}
	return all
}

// planned are the plan's buttons and questions, misused.
func planned() []shape {
	all := []shape{
		{name: "stop with nothing to stop", make: line("POST /api/v1/plan/stop", "Content-Length: 0"), status: []int{409}, says: "nothing to stop", reason: "nothing"},
		{name: "stop on the page with nothing to stop", make: line("POST /plan/stop", "Content-Length: 0"), status: []int{409}, says: "nothing to stop", reason: "nothing"},
		{name: "stop of 10 MB", make: func(*house) []byte { return post("/api/v1/plan/stop", make([]byte, tenMB)) }, status: []int{400}, says: "takes no body", reason: "malformed"},
		{name: "stop of a site", make: line("POST /api/v1/plan/stop?site=home", "Content-Length: 0"), status: []int{400}, says: "is not known here", reason: "malformed"},
		{name: "dismiss with nothing off", make: line("POST /api/v1/plan/dismiss?name=pve1", "Content-Length: 0"), status: []int{409}, says: "nothing is off", reason: "nothing"},
		{name: "dismiss of nobody", make: line("POST /api/v1/plan/dismiss", "Content-Length: 0"), status: []int{400}, says: "name", reason: "malformed"},
		{name: "dismiss of 10 kB", make: line("POST /api/v1/plan/dismiss?name="+strings.Repeat("x", 10<<10), "Content-Length: 0"), status: []int{409}, says: "nothing is off", reason: "nothing"},
		{name: "arm with force=maybe", make: line("POST /api/v1/plan/arm?force=maybe", "Content-Length: 0"), status: []int{400}, says: "force takes yes alone", reason: "malformed"},
		{name: "check of a UPS", make: line("GET /api/v1/plan/check?ups=ups"), status: []int{400}, says: "is not known here", reason: "malformed"},
		{name: "simulate without a UPS of several", make: line("GET /api/v1/plan/simulate"), status: []int{400}, says: "several UPSes", reason: "malformed"},
		{name: "simulate of a UPS that nobody has", make: line("GET /api/v1/plan/simulate?ups=moon"), status: []int{404}, says: "there is no UPS", reason: "unknown"},
	}
	for _, q := range []struct{ query, says string }{
		{"", "on-ups"}, {"on-ups=", "on-ups"}, {"on-ups=perhaps", "on-ups"}, {"on-ups=" + strings.Repeat("y", 10<<10), "on-ups"}, {"on-ups=yes&on-ups=no", "2 times"},
	} {
		all = append(all, shape{name: short("network "+q.query, 40), make: line("POST /api/v1/plan/network?"+q.query, "Content-Length: 0"), status: []int{400}, says: q.says, reason: "malformed"})
	}
	for _, q := range []struct{ query, says string }{
		{"runtime=9", "runtime must be"}, {"runtime=-9m", "runtime must be"}, {"runtime=25h", "runtime must be"}, {"runtime=", "runtime must be"}, {"runtime=%0a%1b%5b31m", "runtime must be"},
		{"runtime=" + strings.Repeat("9", 10<<10) + "h", "runtime must be"}, {"charge=400%25", "charge must be"}, {"charge=NaN%25", "charge must be"}, {"charge=0.4", "charge must be"}, {"charge=%zz", "cannot be read"},
	} {
		all = append(all, shape{name: short("simulate "+q.query, 40), make: line("GET /api/v1/plan/simulate?ups=ups&" + q.query), status: []int{400}, says: q.says, reason: "malformed"})
	}
	return all
}

// oddSearches are for what no fact can be about: nothing is found.
func (h *house) oddSearches() {
	for what, value := range map[string]string{"SQL": "' OR 1=1 --", "wildcards": "%", "JSON": `"},{"`, "control characters": "\n\x1b[31m\x00", "invalid UTF-8": "\xff\xfe", "10 KB": strings.Repeat("x", 10<<10)} {
		for _, name := range []string{"site", "node", "incident"} {
			before, counts := h.state(), h.count(false)
			r := send("tcp", h.page, line("GET /api/v1/journal?"+name+"="+url.QueryEscape(value))(h))
			var wrong []string
			if r.status != http.StatusOK || r.body != "" {
				wrong = append(wrong, fmt.Sprintf("answered %s %.200q", r.answer(), r.body))
			}
			judge(h.T, h.outcome(onBrain, "GET /api/v1/journal, "+name+" of "+what, r, before, counts, false, "", &wrong), wrong)
		}
	}
}

// copiesCutOff asks for copies of the journal and is gone, or does not read: nothing is left
// behind, and the next one is whole.
func (h *house) copiesCutOff() {
	before, counts := h.state(), h.count(false)
	for i := range 20 {
		c, err := net.DialTimeout("tcp", h.page, time.Second)
		if err != nil {
			h.Fatal(err)
		}
		_, _ = c.Write(line("GET /api/v1/backup")(h))
		if i%2 == 0 {
			_, _ = io.ReadFull(c, make([]byte, 100))
		}
		c.Close()
	}
	var r reply
	await(h.T, "a copy is whole", 10*time.Second, func() bool {
		r = send("tcp", h.page, line("GET /api/v1/backup")(h))
		return r.status == http.StatusOK && strings.HasPrefix(r.body, "SQLite format 3\x00")
	})
	var wrong []string
	await(h.T, "no copy is left behind", 5*time.Second, func() bool {
		left, _ := filepath.Glob(filepath.Join(h.of("brain"), "copy-of-*"))
		return len(left) == 0
	})
	r.json = &courier.ErrorBody{} // it is no text
	judge(h.T, h.outcome(onBrain, "20 copies that nobody reads", r, before, counts, false, "", &wrong), wrong)
}
