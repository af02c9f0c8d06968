package brain

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/cloud/internal/web"
	"sentinel.home.arpa/shared/doctor"
	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/proxmox"
	"sentinel.home.arpa/shared/systemctl"
	"sentinel.home.arpa/shared/tailnet"
)

// finds wants a finding among others, and each that is not fine to say what to do.
func finds(t *testing.T, name string, all []doctor.Finding, what string, state doctor.State, says string) {
	t.Helper()
	found := false
	for _, f := range all {
		if f.What == what && f.State == state && strings.Contains(f.Say+"; "+f.Do, says) {
			found = true
		}
		if (f.State == doctor.OK) != (f.Do == "") {
			t.Errorf("%s: %+v", name, f)
		}
	}
	if !found {
		t.Errorf("%s: it says\n%s", name, doctor.Screen(all))
	}
}

// wellBrain is the evidence of a brain and a home with which all is well.
func wellBrain() examined {
	at := time.Date(2026, 11, 21, 19, 0, 0, 0, time.UTC)
	source := func(name, role string) web.Source {
		return web.Source{Name: name, Role: role, Condition: string(sentinel.Up), State: "up", Heard: true}
	}
	return examined{hostname: "sentinel", tailnet: &tailnet.Status{State: "Running", Name: "sentinel"}, tagged: []string{"pi"}, listed: []string{"pi"}, planned: true, calls: true, tests: true, channels: 2,
		free: 5 << 30, synced: true, early: map[string][2]string{},
		plan: []planFinding{{Finding: proxmox.Finding{Severity: proxmox.Note, Target: "network", Text: "it is on the UPS, as was said"}}},
		page: &web.View{At: at, Phone: "last self-test 06:00: fine, about 40 calls left (0.80 USD)", Sites: []web.Site{{Name: "home", HasPlan: true, Armed: true,
			Sources: []web.Source{source("pi", string(sentinel.Pi)), source("pve1", string(sentinel.Node)), source("pve2", string(sentinel.Node))},
			UPSes:   []web.UPS{{Name: "ups", Supply: string(power.Mains)}}}}}}
}

func TestDoctorOfTheBrain(t *testing.T) {
	e := wellBrain()
	if got := e.findings(); !strings.HasPrefix(doctor.Screen(got), "All is well: 11 fine.\n") {
		t.Fatalf("of what is well it says\n%s", doctor.Screen(got))
	}
	site := func(change func(s *web.Site)) func(e *examined) {
		return func(e *examined) { change(&e.page.Sites[0]) }
	}
	node := func(change func(s *web.Source)) func(e *examined) {
		return site(func(s *web.Site) { change(&s.Sources[1]) })
	}
	ups := func(change func(u *web.UPS)) func(e *examined) {
		return site(func(s *web.Site) { change(&s.UPSes[0]) })
	}
	finding := func(s proxmox.Severity, through string) func(e *examined) {
		return func(e *examined) {
			e.plan = []planFinding{{Finding: proxmox.Finding{Severity: s, Target: "pve2", Text: "the token lacks x; give it"}, Through: through}}
		}
	}
	soon := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		spoil func(e *examined)
		what  string
		state doctor.State
		says  string
	}{
		"needs a login":          {func(e *examined) { e.tailnet.State, e.tailnet.AuthURL = "NeedsLogin", "https://login.example/a" }, "tailnet", doctor.Wrong, "https://login.example/a"},
		"is not on the tailnet":  {func(e *examined) { e.tailnet.State, e.tailnet.Err = "Stopped", errors.New("no network") }, "tailnet", doctor.Wrong, "no network"},
		"another has its name":   {func(e *examined) { e.tailnet.Name = "sentinel-1" }, "tailnet", doctor.Look, "sentinel-1"},
		"a key that ends":        {func(e *examined) { e.tailnet.KeyExpiry = &soon }, "tailnet", doctor.Look, "1 December 2026"},
		"a Pi without its tag":   {func(e *examined) { e.tagged = nil }, "Pi pi", doctor.Wrong, "TCP 7777"},
		"a Pi that is not named": {func(e *examined) { e.tagged = append(e.tagged, "pi2") }, "Pi pi2", doctor.Look, "pi_proxies"},
		"a tailnet that is mute": {func(e *examined) { e.noPeers = errors.New("deadline") }, "tailnet", doctor.Look, "in a moment"},
		"never heard":            {node(func(s *web.Source) { s.Condition = string(sentinel.Pending) }), "pve1 at home", doctor.Wrong, "sudo sentinel-node doctor"},
		"a dead Pi":              {site(func(s *web.Site) { s.Sources[0].Condition, s.Sources[0].State = string(sentinel.Failed), "down" }), "pi at home", doctor.Wrong, "sudo sentinel-pi doctor"},
		"through a Pi alone":     {node(func(s *web.Source) { s.OnlyBy = "pi" }), "pve1 at home", doctor.Look, "TCP 80"},
		"two of one name":        {node(func(s *web.Source) { s.CloneOf = "pve1" }), "pve1 at home", doctor.Wrong, "two machines"},
		"off as planned":         {node(func(s *web.Source) { s.Condition = string(sentinel.Off) }), "home's others", doctor.OK, "1 is off"},
		"nobody":                 {site(func(s *web.Site) { s.Sources = nil }), "home", doctor.Wrong, "nobody was heard"},
		"an unknown UPS":         {ups(func(u *web.UPS) { u.Supply = string(power.Unknown) }), "UPS ups", doctor.Wrong, "not known"},
		"a silent UPS":           {ups(func(u *web.UPS) { u.Stale, u.Age = true, time.Minute }), "UPS ups", doctor.Wrong, "last report is 60 s old"},
		"an outage":              {ups(func(u *web.UPS) { u.OnBattery = true }), "UPS ups", doctor.Look, "plan show"},
		"an early limit":         {func(e *examined) { e.early["ups"] = [2]string{"with 3 min left", "MINUTES 1"} }, "UPS ups", doctor.Look, "MINUTES 1"},
		"no UPS and no plan":     {site(func(s *web.Site) { s.UPSes, s.HasPlan = nil, false }), "home", doctor.Look, "no UPS"},
		"not armed":              {site(func(s *web.Site) { s.Armed = false }), "plan", doctor.Look, "plan arm"},
		"not confirmed":          {site(func(s *web.Site) { s.Unconfirmed = []string{"pi"} }), "plan", doctor.Wrong, "pi has not confirmed"},
		"machines are busy":      {func(e *examined) { e.busy = errAsked }, "plan's machines", doctor.Look, "in a moment"},
		"a refusal":              {finding(proxmox.Refusal, "through pi"), "plan: pve2", doctor.Wrong, "lacks x (through pi); give it"},
		"a warning":              {finding(proxmox.Warning, ""), "plan: pve2", doctor.Look, "lacks x; give it"},
		"no credentials": {func(e *examined) {
			e.troubles.phone = []string{"Nobody can be called: Twilio refused. Make a new key."}
		}, "phone", doctor.Wrong, "Twilio refused; Make a new key"},
		"not tested yet":    {func(e *examined) { e.page.Phone = "" }, "phone", doctor.Look, "in a minute"},
		"never tested":      {func(e *examined) { e.page.Phone, e.tests = "", false }, "phone", doctor.Look, "calls.self_test"},
		"a failing channel": {func(e *examined) { e.troubles.channels = []string{"ntfy of Alex has failed since 19:00: x."} }, "channels", doctor.Wrong, "ntfy of Alex"},
		"another warning": {func(e *examined) {
			e.page.Warnings = []string{"The journal cannot be written; a restart would forget."}
		}, "brain", doctor.Wrong, "journal"},
		"a warning without more": {func(e *examined) { e.page.Warnings = []string{"It is so."} }, "brain", doctor.Wrong, "It is so; see"},
		"somebody waits": {func(e *examined) {
			e.page.Waiting = []web.Stranger{{Name: "pve9", Why: "it is not known", Command: "sudo sentinel-cloud approve pve9 --key k"}}
		}, "pve9", doctor.Look, "approve pve9 --key k"},
		"a full disk":        {func(e *examined) { e.free = 1 << 20 }, "disk", doctor.Wrong, "1 MB"},
		"a disk fills":       {func(e *examined) { e.free = 900 << 20 }, "disk", doctor.Look, "900 MB"},
		"a disk that errs":   {func(e *examined) { e.noDisk = os.ErrPermission }, "disk", doctor.Look, "df -h"},
		"a clock by itself":  {func(e *examined) { e.synced = false }, "clock", doctor.Look, "set-ntp"},
		"a clock not asked":  {func(e *examined) { e.noClock = os.ErrPermission }, "clock", doctor.Look, "timedatectl"},
		"without a tailnet":  {func(e *examined) { e.tailnet = nil }, "brain", doctor.OK, "answers"},
		"told by nobody":     {func(e *examined) { e.channels, e.calls = 0, false }, "brain", doctor.OK, "answers"},
		"a site without one": {site(func(s *web.Site) { s.HasPlan = false }), "home's nodes", doctor.OK, "2 are heard"},
	} {
		e := wellBrain()
		c.spoil(&e)
		finds(t, name, e.findings(), c.what, c.state, c.says)
	}
}

// TestDoctorOfWhatIsOff says so once, whatever a look at it found.
func TestDoctorOfWhatIsOff(t *testing.T) {
	e := wellBrain()
	for _, through := range []string{"directly", "through pi"} {
		e.plan = append(e.plan, planFinding{Finding: proxmox.Finding{Severity: proxmox.Refusal, Target: "pve2", Text: "it is not reached"}, Through: through})
	}
	e.page.Sites[0].Sources[2].Condition = string(sentinel.Off)
	found := e.findings()
	finds(t, "off", found, "plan: pve2", doctor.Look, "it is off")
	if n := strings.Count(doctor.Screen(found), "pve2"); n != 1 {
		t.Errorf("it is told of %d times:\n%s", n, doctor.Screen(found))
	}
}

func TestDoctorOfTheHost(t *testing.T) {
	well := func() hostEvidence {
		return hostEvidence{path: "/etc/sentinel/cloud.yaml", unit: systemctl.Unit{Load: "loaded", Active: "active", File: "enabled"},
			needs: []credential{{key: twilioSecret, name: "twilio-secret"}, {key: "tailnet.auth_key_file", name: "tailscale-auth-key", once: true}},
			given: map[string]string{"twilio-secret": "/etc/sentinel/twilio-secret", "tailscale-auth-key": "/etc/sentinel/tailscale-auth-key"},
			notes: []string{"twilio.api_key_secret_file: twilio-secret is a systemd credential, which only the service sees; it was not looked at"}}
	}
	e := well()
	if got := e.findings(); !strings.HasPrefix(doctor.Screen(got), "All is well: 3 fine.\n") {
		t.Fatalf("of what is well it says\n%s", doctor.Screen(got))
	}
	for name, c := range map[string]struct {
		spoil func(e *hostEvidence)
		what  string
		state doctor.State
		says  string
	}{
		"wrong":              {func(e *hostEvidence) { e.wrong = errors.New("cloud.yaml:1:1: x") }, "configuration", doctor.Wrong, "check-config"},
		"something left out": {func(e *hostEvidence) { e.notes = append(e.notes, "contacts: there are none, so nobody is called") }, "configuration", doctor.Look, "nobody is called"},
		"no systemd":         {func(e *hostEvidence) { e.noUnit = errors.New("ask systemd: x") }, "unit", doctor.Look, "ask systemd"},
		"no unit":            {func(e *hostEvidence) { e.unit.Load = "not-found" }, "unit", doctor.Wrong, "apt install --reinstall ./sentinel-cloud_*.deb"},
		"dead":               {func(e *hostEvidence) { e.unit.Active = "failed" }, "unit", doctor.Wrong, "it is failed"},
		"not after a reboot": {func(e *hostEvidence) { e.unit.File = "disabled" }, "unit", doctor.Wrong, "systemctl enable"},
		"no drop-in":         {func(e *hostEvidence) { e.given = nil }, "twilio-secret", doctor.Wrong, "LoadCredential=twilio-secret:/etc/sentinel/twilio-secret in " + dropIn},
		"beside the others": {func(e *hostEvidence) {
			e.given = map[string]string{"tailscale-auth-key": "/srv/keys/tailscale-auth-key", "set-by-value": ""}
		}, "twilio-secret", doctor.Wrong, "; LoadCredential=twilio-secret:/srv/keys/twilio-secret in " + dropIn},
		"as Ansible has it": {func(e *hostEvidence) {
			e.given = map[string]string{"tailscale-auth-key": ansibleSecrets + "/tailscale-auth-key"}
		}, "twilio-secret", doctor.Wrong, "; write it into secrets.yml and run the playbook again, or LoadCredential=twilio-secret:/etc/sentinel/sentinel-cloud.secrets/twilio-secret in " + dropIn},
		"Ansible's first": {func(e *hostEvidence) { e.given, e.byAnsible = nil, true }, "tailscale-auth-key", doctor.Look,
			"or LoadCredential=tailscale-auth-key:/etc/sentinel/sentinel-cloud.secrets/tailscale-auth-key in " + dropIn},
		"no auth key":       {func(e *hostEvidence) { delete(e.given, "tailscale-auth-key") }, "tailscale-auth-key", doctor.Look, "to join the tailnet"},
		"an empty file":     {func(e *hostEvidence) { e.needs[0].noFile = errEmpty }, "twilio-secret", doctor.Wrong, "it is empty"},
		"an open file":      {func(e *hostEvidence) { e.needs[0].noFile = errExposed }, "twilio-secret", doctor.Look, "chmod 600"},
		"systemd is silent": {func(e *hostEvidence) { e.noGiven = errors.New("ask systemd: y") }, "credentials", doctor.Look, "systemctl cat"},
	} {
		e := well()
		c.spoil(&e)
		finds(t, name, e.findings(), c.what, c.state, c.says)
	}
	path := filepath.Join(t.TempDir(), "x")
	for _, step := range []struct {
		do   func() error
		want string
	}{
		{func() error { return nil }, "there is no such file"},
		{func() error { return os.WriteFile(path, nil, 0o600) }, errEmpty.Error()},
		{func() error { return os.WriteFile(path, []byte("x"), 0o600) }, ""},
		{func() error { return os.Chmod(path, 0o640) }, errExposed.Error()},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := usable(path); err != nil {
			got = err.Error()
		}
		if got != step.want {
			t.Errorf("got %q, want %q", got, step.want)
		}
	}
}
