package brain

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/cloud/internal/sentinel"
)

// TestC6_TheDocumentListsEveryKind that a route may name, and none else.
func TestC6_TheDocumentListsEveryKind(t *testing.T) {
	text, err := os.ReadFile("../../docs/notices.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for line := range strings.Lines(string(text)) {
		if kind, ok := strings.CutPrefix(line, "| `"); ok {
			kind, _, _ = strings.Cut(kind, "`")
			listed = append(listed, kind)
		}
	}
	if diff := cmp.Diff(sentinel.NoticeKinds(), listed); diff != "" {
		t.Errorf("docs/notices.md lists other kinds (-there are +listed):\n%s", diff)
	}
}
