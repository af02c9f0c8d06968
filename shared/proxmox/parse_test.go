package proxmox

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"
)

func fingerprintOf(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return formatFingerprint(sum[:])
}

type judgement struct {
	err  error
	want ReachState
}

func judgements() map[string]judgement {
	sys := func(e syscall.Errno) error { return os.NewSyscallError("connect", e) }
	return map[string]judgement{
		"refused":          {sys(syscall.ECONNREFUSED), Refused},
		"no route":         {sys(syscall.EHOSTUNREACH), Silent},
		"timed out":        {sys(syscall.ETIMEDOUT), Silent},
		"our deadline":     {context.DeadlineExceeded, Silent},
		"our network gone": {sys(syscall.ENETUNREACH), Unknown},
		"our files gone":   {sys(syscall.EMFILE), Unknown},
		"no address":       {sys(syscall.EADDRNOTAVAIL), Unknown},
		"no name":          {&net.DNSError{Err: "no such host", IsNotFound: true}, Unknown},
		"slow name server": {&net.DNSError{Err: "i/o timeout", IsTimeout: true}, Unknown},
		"something else":   {errors.New("odd"), Unknown},
	}
}

func TestParseTask(t *testing.T) {
	for in, want := range map[string]Task{
		`{"status":"running"}`:                                      {Running: true},
		`{"status":"stopped","exitstatus":"OK"}`:                    {ExitStatus: "OK", OK: true},
		`{"status":"stopped","exitstatus":"WARNINGS: 1"}`:           {ExitStatus: "WARNINGS: 1", OK: true},
		`{"status":"stopped","exitstatus":"got timeout","pid":"7"}`: {ExitStatus: "got timeout"},
		`{"status":"stopped"}`:                                      {},
		`{"status":"stopped","exitstatus":"VM is locked (backup)"}`: {ExitStatus: "VM is locked (backup)"},
	} {
		if got, err := parseTask([]byte(in)); err != nil || got != want {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
	for _, bad := range []string{``, `null`, `[]`, `{}`, `{"status":"paused"}`, `"OK"`} {
		if got, err := parseTask([]byte(bad)); err == nil {
			t.Errorf("%s: taken as %+v", bad, got)
		}
	}
}

func TestParseRunning(t *testing.T) {
	for in, want := range map[string]string{
		`{"status":"running"}`: "true", `{"status":"stopped"}`: "false",
		`{"status":"paused"}`: "error", `{}`: "error", `null`: "error", `{"status":1}`: "error",
	} {
		got, err := parseRunning([]byte(in))
		text := map[bool]string{true: "true", false: "false"}[got]
		if err != nil {
			text = "error"
		}
		if text != want {
			t.Errorf("%s: %s", in, text)
		}
	}
}

func TestParseUPID(t *testing.T) {
	const good = "UPID:pve1:000003E9:0000000A:6700AB00:qmshutdown:100:sentinel@pve!power:"
	if got, err := parseUPID([]byte(`"`+good+`"`), "pve1"); err != nil || got != good {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{``, `null`, `""`, `7`, `{}`, `"` + good + good + `"`, `"` + strings.TrimSuffix(good, ":") + `"`,
		`"` + strings.Replace(good, "pve1", "pve2", 1) + `"`, `"` + strings.Replace(good, "100", "1/../0", 1) + `"`} {
		if got, err := parseUPID([]byte(bad), "pve1"); err == nil {
			t.Errorf("%s: taken as %q", bad, got)
		}
	}
}

func FuzzParseGuests(f *testing.F) {
	f.Add([]byte(`[{"vmid":"100","status":"running","maxdisk":"1","tags":"a;b","template":1}]`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		guests, err := parseGuests(data, "n", LXC)
		if err != nil && guests != nil {
			t.Error("guests and an error")
		}
		for _, g := range guests {
			if g.VMID < minVMID || g.VMID > maxVMID {
				t.Errorf("id %d", g.VMID)
			}
		}
	})
}

func FuzzParseTask(f *testing.F) {
	f.Add([]byte(`{"status":"stopped","exitstatus":"OK"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		task, err := parseTask(data)
		if task.OK && (task.Running || err != nil || task.ExitStatus == "") {
			t.Errorf("%+v, %v", task, err)
		}
		if up, err := parseUPID(data, "pve1"); err == nil && nodeOf(up) != "pve1" {
			t.Errorf("took %q", up)
		}
		_, _ = parseRunning(data)
	})
}

func FuzzCheckAnswer(f *testing.F) {
	f.Add(400, "Parameter verification failed.", "application/json", []byte(`{"errors":{"a":"b","c":[1]}}`))
	f.Add(200, "OK", "application/json", []byte(`{"data":null}`))
	f.Fuzz(func(t *testing.T, code int, reason, ctype string, body []byte) {
		resp := &http.Response{StatusCode: code, Status: "0 " + reason, Header: http.Header{"Content-Type": {ctype}}}
		err := checkAnswer(resp, body, testSecret)
		if err == nil {
			return
		}
		var e *Error
		if !errors.As(err, &e) || len(e.Error()) > 8*(64+maxErrorReason+16)+maxErrorReason+64 || len(e.Body) > maxErrorBody {
			t.Errorf("unbounded or untyped: %v", err)
		}
		if text := e.Error() + e.Body; strings.Contains(text, testSecret) || !utf8.ValidString(text) {
			t.Errorf("unfit: %q", text)
		}
	})
}

func FuzzParseFingerprint(f *testing.F) {
	f.Add(strings.TrimSuffix(strings.Repeat("5C:", 32), ":"))
	f.Fuzz(func(t *testing.T, s string) {
		sum, err := parseFingerprint(s)
		if err != nil {
			return
		}
		again, err := parseFingerprint(formatFingerprint(sum))
		if err != nil || string(again) != string(sum) {
			t.Errorf("%q: %v", s, err)
		}
	})
}
