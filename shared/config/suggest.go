package config

import (
	"maps"
	"slices"
	"strings"
)

// suggestion is the end of an "unknown key" message: the nearest known key, or all of them if none is near.
func suggestion(key string, known map[string][]int) string {
	names := slices.Sorted(maps.Keys(known))
	best, least := "", max(1, len(key)/3)+1
	for _, name := range names {
		if d := distance(strings.ToLower(key), name); d < least {
			best, least = name, d
		}
	}
	switch {
	case best != "":
		return "; did you mean `" + best + "`?"
	case len(names) == 0:
		return ""
	}
	return "; known here: " + strings.Join(names, ", ")
}

// distance counts the letters to insert, remove or replace that lead from a to b (Levenshtein).
func distance(a, b string) int {
	if len(a) > 64 { // no known key is that long
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
