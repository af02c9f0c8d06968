package proxmox

import (
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestGuests(t *testing.T) {
	l := newLab(t, nil)
	got, err := l.client(t, "pve1").Guests(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []Guest{
		{Node: "pve1", VMID: 100, Type: QEMU, Name: "web", Running: true, Tags: []string{"prod", "web"}},
		{Node: "pve1", VMID: 102, Type: QEMU, Name: "tmpl", Tags: []string{}, Template: true},
		{Node: "pve1", VMID: 103, Type: QEMU, Name: "saved", Running: true, Tags: []string{}, Lock: "backup"},
		{Node: "pve1", VMID: 104, Type: QEMU, Name: "stuck", Running: true, Tags: []string{}},
		{Node: "pve1", VMID: 101, Type: LXC, Name: "dns", Running: true, Tags: []string{}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestParseGuests_OddFields(t *testing.T) {
	const mine = `[{"vmid":"100","status":"running","maxdisk":"1","mem":12.5,"name":7,"tags":"a, b;c","template":"1","lock":null},
		{"vmid":101,"status":"stopped","cpu":"NaN","tags":null,"template":"","name":null},
		{"vmid":102,"status":"prelaunch","template":true,"tags":{}}]`
	got, err := parseGuests([]byte(mine), "n", QEMU)
	if err != nil {
		t.Fatal(err)
	}
	want := []Guest{
		{Node: "n", VMID: 100, Type: QEMU, Name: "7", Running: true, Tags: []string{"a", "b", "c"}, Template: true},
		{Node: "n", VMID: 101, Type: QEMU, Tags: []string{}},
		{Node: "n", VMID: 102, Type: QEMU, Running: true, Tags: []string{}, Template: true},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{``, `null`, `{}`, `[null]`, `[{"vmid":99,"status":"running"}]`, `[{"status":"running"}]`,
		`[{"vmid":100}]`, `[{"vmid":"1e2","status":"running"}]`, `[{"vmid":1000000000,"status":"running"}]`} {
		if g, err := parseGuests([]byte(bad), "n", QEMU); err == nil {
			t.Errorf("%s: taken as %v", bad, g)
		}
	}
}

func TestShutdownGuest(t *testing.T) {
	l := newLab(t, nil)
	c := l.client(t, "pve1")
	for _, g := range []Guest{{Node: "pve1", VMID: 100, Type: QEMU}, {Node: "pve1", VMID: 101, Type: LXC}} {
		upid, err := c.ShutdownGuest(t.Context(), g, 1500*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		var task Task
		eventually(t, "the task ends", func() bool {
			if task, err = c.TaskStatus(t.Context(), upid); err != nil {
				t.Fatal(err)
			}
			return !task.Running
		})
		if !task.OK || task.ExitStatus != "OK" {
			t.Errorf("%s: %+v", g.label(), task)
		}
		if running, err := c.GuestRunning(t.Context(), g); err != nil || running {
			t.Errorf("%s: running %v, %v", g.label(), running, err)
		}
	}
	var bodies []string
	for _, x := range l.requests() {
		if x.Method == http.MethodPost {
			bodies = append(bodies, x.Body)
		}
	}
	want := `{"forceStop":1,"timeout":2}`
	if d := cmp.Diff([]string{want, want}, bodies); d != "" {
		t.Error(d)
	}
	// A container that does not run is an error with Proxmox's own words.
	_, err := c.ShutdownGuest(t.Context(), Guest{Node: "pve1", VMID: 101, Type: LXC}, time.Second)
	var e *Error
	if !errors.As(err, &e) || e.Code != 500 || e.Reason != "CT 101 not running" {
		t.Errorf("got %v", err)
	}
}

func TestShutdownGuest_LockedAndHung(t *testing.T) {
	l := newLab(t, nil)
	c := l.client(t, "pve1")
	locked := Guest{Node: "pve1", VMID: 103, Type: QEMU}
	stuck := Guest{Node: "pve1", VMID: 104, Type: QEMU}
	upid, err := c.ShutdownGuest(t.Context(), locked, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var task Task
	eventually(t, "the locked guest's task ends", func() bool {
		task, err = c.TaskStatus(t.Context(), upid)
		return err == nil && !task.Running
	})
	if want := (Task{ExitStatus: "VM is locked (backup)"}); task != want {
		t.Errorf("got %+v", task)
	}
	if _, err := c.ShutdownGuest(t.Context(), stuck, time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := c.StopGuest(t.Context(), stuck); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the hung guest is stopped", func() bool {
		running, err := c.GuestRunning(t.Context(), stuck)
		return err == nil && !running
	})
	if running, err := c.GuestRunning(t.Context(), locked); err != nil || !running {
		t.Errorf("locked guest: running %v, %v", running, err)
	}
}

func TestStartGuest(t *testing.T) {
	l := newLab(t, nil)
	c := l.client(t, "pve2")
	g := Guest{Node: "pve2", VMID: 200, Type: QEMU}
	if _, err := c.StopGuest(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it stops", func() bool { g, _ := l.Guest(200); return !g.Running })
	if _, err := c.StartGuest(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it starts", func() bool { g, _ := l.Guest(200); return g.Running })
}

func TestGuestCalls_RefuseBeforeSending(t *testing.T) {
	l := newLab(t, nil)
	c := l.client(t, "pve1")
	good := Guest{Node: "pve1", VMID: 100, Type: QEMU}
	for name, g := range map[string]Guest{
		"other node": {Node: "pve2", VMID: 100, Type: QEMU},
		"no type":    {Node: "pve1", VMID: 100},
		"low id":     {Node: "pve1", VMID: 99, Type: QEMU},
		"path":       {Node: "pve1", VMID: 100, Type: "qemu/../lxc"},
	} {
		if _, err := c.ShutdownGuest(t.Context(), g, time.Minute); err == nil {
			t.Errorf("%s: shut down", name)
		}
		if _, err := c.GuestRunning(t.Context(), g); err == nil {
			t.Errorf("%s: asked", name)
		}
	}
	if _, err := c.ShutdownGuest(t.Context(), good, 0); err == nil {
		t.Error("a timeout of 0 would kill at once")
	}
	for _, upid := range []string{"", "UPID:pve1:1:2:3:x", "UPID:pve2:000003E9:00000000:00000000:qmstop:100:a@b!c:"} {
		if _, err := c.TaskStatus(t.Context(), upid); err == nil {
			t.Errorf("%q: asked", upid)
		}
	}
	if n := len(l.requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// TestStopGuest_OldProxmox: before 8.1 there was no overrule-shutdown.
func TestStopGuest_OldProxmox(t *testing.T) {
	var bodies []string
	o, _ := fakeAPI(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(b))
		w.Header().Set("Content-Type", "application/json")
		if len(bodies) == 1 {
			w.WriteHeader(400)
			_, _ = io.WriteString(w, `{"data":null,"errors":{"overrule-shutdown":"property is not defined in schema"}}`)
			return
		}
		_, _ = io.WriteString(w, `{"data":"UPID:pve1:000003E9:0000000A:6700AB00:qmstop:100:a@b!c:"}`)
	})
	if _, err := clientFor(t, o).StopGuest(t.Context(), Guest{Node: "pve1", VMID: 100, Type: QEMU}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{`{"overrule-shutdown":1}`, `{}`}, bodies); d != "" {
		t.Error(d)
	}
}

func TestShutdownNode(t *testing.T) {
	l := newLab(t, nil)
	if err := l.client(t, "pve2").ShutdownNode(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node goes down", func() bool { return !l.NodeUp("pve2") })
}
