package config

import (
	"maps"
	"slices"
	"strings"
)

// suggestion is the end of an "unknown key" message: the nearest known key, or all of them if none is near.
func suggestion(key string, known map[string][]int) string {
	if file := key + "_file"; known[file] != nil {
		return "; secrets are named and not written: put it into a file, and name that as `" + file + "`"
	}
	names := slices.Sorted(maps.Keys(known))
	best, near := Nearest(key, names)
	switch {
	case near:
		return "; did you mean `" + best + "`?"
	case len(names) == 0:
		return ""
	}
	return "; known here: " + strings.Join(names, ", ")
}

// Nearest is the known word that a wrong one probably means, if one is near enough.
func Nearest(word string, known []string) (string, bool) {
	best, least := "", max(1, len(word)/3)+1
	for _, k := range known {
		if d := distance(strings.ToLower(word), k); d < least {
			best, least = k, d
		}
	}
	return best, best != ""
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
