package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const twoFacts = `{"n":1,"wall":"2026-11-21T20:02:31+01:00","fact":"source_failed","text":"pve2 failed, because it sent nothing","body":{"Name":"pve2"}}
{"n":2,"wall":"2026-11-21T20:02:32+01:00","fact":"call_placed","text":"","body":{"SID":"x"}}
`

// TestR6_Journal: sentences with the time where the site is, or all that the brain says.
func TestR6_Journal(t *testing.T) {
	query := ""
	o, asked := brain(t, func(w http.ResponseWriter, r *http.Request) { query = r.URL.RawQuery; fmt.Fprint(w, twoFacts) })
	for asJSON, want := range map[bool]string{false: "2026-11-21 20:02:31  pve2 failed, because it sent nothing\n", true: twoFacts} {
		var out strings.Builder
		if err := o.Journal(&out, Search{Site: "home", Node: "pve2", Incident: "i", Since: "24h", Limit: 7}, asJSON); err != nil || out.String() != want {
			t.Errorf("JSON %t: %v\n%s", asJSON, err, out.String())
		}
	}
	if query != "incident=i&limit=7&node=pve2&since=24h&site=home" || (*asked)[0] != "GET /api/v1/journal" {
		t.Errorf("asked %q with %q", *asked, query)
	}
	if err := o.Journal(io.Discard, Search{}, false); err != nil || query != "" {
		t.Errorf("%v, asked with %q", err, query)
	}
	nothing, _ := brain(t, func(http.ResponseWriter, *http.Request) {})
	var said strings.Builder
	if err := nothing.Journal(&said, Search{Node: "pve9"}, false); err != nil || !strings.HasPrefix(said.String(), "The journal holds nothing like that") {
		t.Errorf("%v, %q of nothing", err, said.String())
	}
	for _, bad := range []struct {
		answer http.HandlerFunc
		want   string
		code   int
	}{
		{func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":"since: \"x\" is no time"}`)
		}, `since: "x" is no time`, 2},
		{func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>\n") }, "read the brain's answer", 1},
		{func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, twoFacts)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, "the brain's answer broke off", 1},
	} {
		o, _ := brain(t, bad.answer)
		if err := o.Journal(io.Discard, Search{}, false); err == nil || !strings.Contains(err.Error(), bad.want) || ExitCode(err) != bad.code {
			t.Errorf("got %v, exit %d", err, ExitCode(err))
		}
	}
}

// TestR3_Backup writes a whole file that was checked, or none.
func TestR3_Backup(t *testing.T) {
	fine := func(_ context.Context, path string) (string, error) {
		data, err := os.ReadFile(path)
		return fmt.Sprintf("%d facts", len(data)), err
	}
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		check  func(context.Context, string) (string, error)
		want   string // of the error; empty: none
	}{
		{"good", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "a copy") }, fine, ""},
		{"half", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "half of it")
		}, fine, "the brain's answer broke off, so there is no copy; try again"},
		{"damaged", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "x") },
			func(context.Context, string) (string, error) { return "", errors.New("it is garbled") }, "journal.db was not written, since the copy is not good; try again, and see the brain's log: it is garbled"},
		{"refused", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInsufficientStorage)
			fmt.Fprint(w, `{"error":"no room"}`)
		}, fine, "no room"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, asked := brain(t, tt.answer)
			dir := t.TempDir()
			file := filepath.Join(dir, "journal.db")
			if err := os.WriteFile(file, []byte("the last one"), 0o644); err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			err := o.Backup(t.Context(), &out, file, tt.check)
			data, readErr := os.ReadFile(file)
			info, statErr := os.Stat(file)
			if readErr != nil || statErr != nil {
				t.Fatal(readErr, statErr)
			}
			if tt.want == "" {
				if err != nil || string(data) != "a copy" || info.Mode() != 0o600 || out.String() != file+": 6 facts, whole and readable.\n" {
					t.Errorf("%v, %q with mode %v, said %q", err, data, info.Mode(), out.String())
				}
			} else if err == nil || !strings.Contains(err.Error(), tt.want) || string(data) != "the last one" || out.Len() > 0 {
				t.Errorf("%v, %q, said %q", err, data, out.String())
			}
			if left, _ := os.ReadDir(dir); len(left) != 1 || (*asked)[0] != "GET /api/v1/backup" {
				t.Errorf("left %v, asked %q", left, *asked)
			}
		})
	}
	o, _ := brain(t, func(w http.ResponseWriter, _ *http.Request) {})
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		filepath.Join(dir, "none", "x"): "there is no directory " + dir + "/none; make it, or name another place for the copy",
		filepath.Join(dir, "x"):         "the copy was not written, name another place for it: rename ",
	} {
		if err := o.Backup(t.Context(), io.Discard, file, fine); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v", file, err)
		}
	}
	for why, want := range map[error]string{syscall.ENOSPC: "the disk of /x has no room for the copy; make room, or name another place for it", fs.ErrPermission: "you may not write to /x; use sudo, or name another place for the copy"} {
		if err := notWritten("/x/y", fmt.Errorf("write: %w", why)); err.Error() != want {
			t.Errorf("%v: %v", why, err)
		}
	}
}

// TestR3_BackupOntoAJournal: the brain's own, or another that is in use, stays.
func TestR3_BackupOntoAJournal(t *testing.T) {
	file := filepath.Join(t.TempDir(), "journal.db")
	for _, f := range []string{file, file + "-wal"} {
		if err := os.WriteFile(f, []byte("what happened"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o, _ := brain(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "a copy") })
	fine := func(context.Context, string) (string, error) { return "6 facts", nil }
	err := o.Backup(t.Context(), io.Discard, file, fine)
	if data, _ := os.ReadFile(file); err == nil || !strings.Contains(err.Error(), "is in use") || string(data) != "what happened" {
		t.Errorf("%v, %q", err, data)
	}
}
