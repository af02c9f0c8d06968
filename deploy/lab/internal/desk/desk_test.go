package desk

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// did records what a home was told.
type did struct{ lines []string }

func (d *did) Do(line string) error {
	d.lines = append(d.lines, line)
	if line == "explode" {
		return errors.New("that is nothing")
	}
	return nil
}

func TestKeys(t *testing.T) {
	var home did
	b := keyboard{home: &home, say: func(string, string) {}, on: map[byte]bool{'p': true, 'i': true, 'u': true}}
	for _, k := range []byte("pp2s3r1x4iio2u") {
		b.press(k)
	}
	want := []string{"unplug", "plug", "kill pve2", "shutdown pve3", "reboot pve1", "internet off", "internet on", "start pve2", "ups off"}
	if !slices.Equal(home.lines, want) {
		t.Errorf("%q, want %q", home.lines, want)
	}
}

func TestRoutes(t *testing.T) {
	var home did
	h, err := Routes(&home, [][2]string{{"path NODE|PI off|on", ""}, {"unplug", ""}, {"plug UPS", ""}}, "http://page",
		map[string][]string{"PI": {"pi", "pi2"}, "UPS": nil})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(method, path string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, nil)
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	page := ask("GET", "/").Body.String()
	for _, want := range []string{`action="/lab/path/pve3/off"`, `action="/lab/path/pi/on"`, `action="/lab/path/pi2/on"`, `action="/lab/unplug"`, "http://page"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Contains(page, "/lab/plug") {
		t.Error("the page has a button for one UPS of one")
	}
	if w := ask("POST", "/lab/path/pve1/off"); w.Code != http.StatusNoContent {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := ask("POST", "/lab/explode"); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "that is nothing") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := ask("POST", "/lab/unplug", "Sec-Fetch-Site", "cross-site"); w.Code != http.StatusForbidden {
		t.Errorf("from another page: %d", w.Code)
	}
	if want := []string{"path pve1 off", "explode"}; !slices.Equal(home.lines, want) {
		t.Errorf("%q, want %q", home.lines, want)
	}
}
