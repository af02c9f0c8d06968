package channel

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// docs are the fenced blocks of docs/channels.md in a language.
func docs(t *testing.T, language string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "channels.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "```"+language+"\n")
	block, _, closed := strings.Cut(rest, "\n```")
	if !found || !closed {
		t.Fatalf("docs/channels.md shows no %s", language)
	}
	return block
}

// TestC5_TheDocumentedBody is what a webhook gets, with all its fields.
func TestC5_TheDocumentedBody(t *testing.T) {
	var shown, sent map[string]any
	if err := json.Unmarshal([]byte(docs(t, "json")), &shown); err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(Body{})
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, &sent); err != nil {
		t.Fatal(err)
	}
	for key := range sent {
		if _, is := shown[key]; !is {
			t.Errorf("%s is not documented", key)
		}
	}
	if len(shown) != len(sent) {
		t.Errorf("documented are %v", shown)
	}
}

// TestC5_TheDocumentedCheck takes what is genuine and nothing else.
func TestC5_TheDocumentedCheck(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3: the documented check is NOT TESTED")
	}
	body, secret := []byte(`{"id":"n1"}`), "shared"
	for name, tc := range map[string]struct {
		header, secret, body string
		want                 string
	}{
		"genuine":        {Sign([]byte(secret), time.Now(), body), secret, string(body), "True"},
		"another secret": {Sign([]byte("other"), time.Now(), body), secret, string(body), "False"},
		"another body":   {Sign([]byte(secret), time.Now(), body), secret, `{"id":"n2"}`, "False"},
		"old":            {Sign([]byte(secret), time.Now().Add(-time.Hour), body), secret, string(body), "False"},
	} {
		cmd := exec.CommandContext(t.Context(), python, "-c", docs(t, "python")+"\nimport sys\nprint(genuine(sys.argv[1].encode(), sys.argv[2], sys.argv[3].encode()))", tc.secret, tc.header, tc.body)
		out, err := cmd.CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != tc.want {
			t.Errorf("%s: %s, %v", name, out, err)
		}
	}
}
