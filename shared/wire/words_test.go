package wire_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sentinel.home.arpa/shared/wire"
)

// TestR2_ErrorsAreWords: what is wrong with a message is said for people, not in the words
// of the language that it is written in.
func TestR2_ErrorsAreWords(t *testing.T) {
	type inner struct {
		Charge *float64 `json:"charge"`
	}
	type message struct {
		Node  string  `json:"node"`
		Seq   int64   `json:"seq"`
		Up    bool    `json:"up"`
		Port  uint16  `json:"port"`
		Raw   []byte  `json:"raw"`
		Pis   []inner `json:"pis"`
		Inner inner   `json:"inner"`
	}
	for text, want := range map[string]string{
		"":                            "there is nothing in it",
		"  ":                          "there is nothing in it",
		`{"node":7}`:                  "node: a number where text is due",
		`{"node":["x"]}`:              "node: a list where text is due",
		`{"node":true}`:               "node: true or false where text is due",
		`{"seq":"x"}`:                 "seq: text where a whole number is due",
		`{"seq":1.5}`:                 "seq: the number 1.5 where a whole number is due",
		`{"seq":9223372036854775808}`: "seq: the number 9223372036854775808 where a whole number is due",
		`{"up":"yes"}`:                "up: text where true or false is due",
		`{"port":-1}`:                 "port: the number -1 where a whole number of 0 or more is due",
		`{"raw":{}}`:                  "raw: an object where text in base64 is due",
		`{"pis":{}}`:                  "pis: an object where a list is due",
		`{"inner":[]}`:                "inner: a list where an object is due",
		`{"inner":{"charge":"full"}}`: "inner.charge: text where a number is due",
		`[]`:                          "a list where an object is due",
		`{"node":"x`:                  "the JSON breaks off after 10 bytes",
		`{"node":N}`:                  "invalid character 'N' at byte 9",
		`{"sudo":1}`:                  `unknown field "sudo"`,
		`{"seq":1` + strings.Repeat("0", 500) + `}`: "seq: the number 1" + strings.Repeat("0", 32) + " where a whole number is due",
	} {
		var m message
		if err := wire.Strict([]byte(text), &m); err == nil || err.Error() != want {
			t.Errorf("%.40s: %v; want %s", text, err, want)
		}
	}
	var m message
	if err := wire.Strict([]byte(`{"`+strings.Repeat("x", 1000)+`":1}`), &m); err == nil || len(err.Error()) > 80 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

// TestR2_HeadersAreToldInWords: also where the header alone is read.
func TestR2_HeadersAreToldInWords(t *testing.T) {
	k := newKey(t)
	for text, want := range map[string]string{
		`{"v":1,"node":7}`: "malformed payload: node: a number where text is due",
		`{"v":1,"node":"`:  "malformed payload: the JSON breaks off after 15 bytes",
		``:                 "malformed payload: there is nothing in it",
	} {
		data, bad := json.Marshal(envelope(t, wire.KindHeartbeat, text, k))
		if bad != nil {
			t.Fatal(bad)
		}
		_, err := wire.Read(data)
		if err == nil || err.Error() != want || !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v; want %s", text, err, want)
		}
	}
}

// TestR4_AKeyThatOthersCanReadIsSaid: once, with what to do, and the watchman runs.
func TestR4_AKeyThatOthersCanReadIsSaid(t *testing.T) {
	for _, c := range []struct {
		name string
		mode os.FileMode
		in   bool // among the credentials
		says bool
	}{{"its own", 0o600, false, false}, {"of a group", 0o640, false, true}, {"of all", 0o644, false, true}, {"a credential", 0o440, true, false}} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			k := loadKey(t, dir)
			path := filepath.Join(dir, wire.KeyFile)
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
			if c.in {
				t.Setenv("CREDENTIALS_DIRECTORY", dir)
			}
			var log strings.Builder
			old := slog.Default()
			slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
			defer slog.SetDefault(old)
			if again := loadKey(t, dir); again.PublicKey() != k.PublicKey() {
				t.Error("another key")
			}
			said := strings.Contains(log.String(), path) && strings.Contains(log.String(), "chmod 600")
			if said != c.says || strings.Count(log.String(), "\n") > 1 {
				t.Errorf("logged %q", log.String())
			}
		})
	}
}

// TestR5_AKeyThatIsADirectory is refused with what to do.
func TestR5_AKeyThatIsADirectory(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, wire.KeyFile)
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := wire.LoadKey(dir); err == nil || !strings.Contains(err.Error(), path+" is a directory: remove it") {
		t.Errorf("LoadKey: %v", err)
	}
}
