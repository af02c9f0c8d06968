package guest

import "testing"

func TestIsFirst(t *testing.T) {
	for name, c := range map[string]struct {
		status string
		want   bool
	}{
		"the first of its own":     {"Name:\tsystemd\nPPid:\t7\nNSpid:\t40\t2\t1\n", true},
		"the first of the host":    {"Name:\tsystemd\nPPid:\t7\nNSpid:\t1\n", false},
		"of another parent":        {"Name:\tsystemd\nPPid:\t8\nNSpid:\t40\t1\n", false},
		"a later one":              {"Name:\tsh\nPPid:\t7\nNSpid:\t41\t12\n", false},
		"without a namespace":      {"Name:\tsh\nPPid:\t7\n", false},
		"cut off in its last line": {"PPid:\t7\nNSpid:", false},
	} {
		if got := isFirst(c.status, 7); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
