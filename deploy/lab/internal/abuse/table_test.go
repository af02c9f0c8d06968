//go:build abuse

package abuse_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
)

// table is what was done to what, and what came of it.
type table struct {
	mu   sync.Mutex
	rows []row
}

type row struct{ target, abuse, answer, text, changed, known string }

var report table

func (r *table) add(x row) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rows = append(r.rows, x)
}

func (r *table) print(w io.Writer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.SortStableFunc(r.rows, func(a, b row) int { return strings.Compare(a.target, b.target) })
	last := ""
	for _, x := range r.rows {
		if x.target != last {
			fmt.Fprintf(w, "\n%s\n", x.target)
			last = x.target
		}
		known := ""
		if x.known != "" {
			known = " | KNOWN: " + x.known
		}
		fmt.Fprintf(w, "  %-38s | %-12s | %-110s | %s%s\n", x.abuse, x.answer, short(x.text, 110), x.changed, known)
	}
	fmt.Fprintf(w, "\n%d rows\n", len(r.rows))
}

func short(s string, n int) string {
	s = strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, s), "?")
	if r := []rune(s); len(r) > n {
		return string(r[:n-3]) + "..."
	}
	return s
}

// judge adds a row and fails the test if it is wrong. A row with a known fault must be
// wrong: once it is not, the mark has to go.
func judge(t *testing.T, x row, wrong []string) {
	t.Helper()
	report.add(x)
	switch {
	case x.known == "" && len(wrong) > 0:
		t.Errorf("%s, %s: %s\n\tanswered %s: %s", x.target, x.abuse, strings.Join(wrong, "; "), x.answer, short(x.text, 400))
	case x.known != "" && len(wrong) == 0:
		t.Errorf("%s, %s: is right now; take the mark away: %s", x.target, x.abuse, x.known)
	}
}
