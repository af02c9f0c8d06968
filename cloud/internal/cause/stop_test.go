package cause_test

import (
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/cause"
)

// TestH8_WhatIsLeftToBeHeardIn after one more stop, of a wait of 20 s.
func TestH8_WhatIsLeftToBeHeardIn(t *testing.T) {
	const most = 20 * time.Second
	for name, c := range map[string]struct{ waited, listened, want time.Duration }{
		"there is time":                  {14 * time.Second, 14 * time.Second, 14 * time.Second},
		"just enough":                    {15 * time.Second, time.Second, 15 * time.Second},
		"5 s":                            {18 * time.Second, 18 * time.Second, 15 * time.Second},
		"5 s, of which 2 s are over":     {18 * time.Second, 3 * time.Second, 17 * time.Second},
		"a second that proves nothing":   {16 * time.Second, time.Second, 15 * time.Second},
		"just more than was left":        {18 * time.Second, 4 * time.Second, 15 * time.Second},
		"half of one":                    {15500 * time.Millisecond, 500 * time.Millisecond, 15 * time.Second},
		"almost all":                     {19900 * time.Millisecond, 3 * time.Second, 18900 * time.Millisecond},
		"over, and a second is left":     {22 * time.Second, 4 * time.Second, 19 * time.Second},
		"over for long, so 5 s anew":     {time.Hour, 5 * time.Second, 15 * time.Second},
		"longer than anybody listened":   {-time.Second, 0, 0},
		"a stop that is longer than all": {16 * time.Second, -time.Second, 16 * time.Second},
	} {
		if got := cause.Waited(c.waited, c.listened, most); got != c.want {
			t.Errorf("%s: %s counts, want %s", name, got, c.want)
		}
	}
	if got := cause.Waited(2*time.Second, 2*time.Second, 3*time.Second); got != time.Second {
		t.Errorf("of a short wait %s counts", got)
	}
}

// TestH8_StopsOfAllKinds: who says nothing is missed whenever the process listens for 2 s at a
// time; where it is for less than 1 s, nobody is.
func TestH8_StopsOfAllKinds(t *testing.T) {
	const most = 20 * time.Second
	for piece := 200 * time.Millisecond; piece < most; piece += 300 * time.Millisecond {
		waited := time.Duration(0)
		for n := 0; n < 1000 && waited < most; n++ {
			if waited+piece >= most {
				waited = most
				break
			}
			waited = cause.Waited(waited+piece, piece, most)
		}
		if missed := waited >= most; piece >= 2*time.Second && !missed || piece < time.Second && missed {
			t.Errorf("listening for %s at a time: missed %v", piece, missed)
		}
	}
}
