// Package speech says numbers, times and names as people do, in the languages that calls are
// made in.
//
// It knows nothing of what a call is about, and must not import any package of the project.
package speech
