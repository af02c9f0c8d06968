// Package stages judges how a plan was carried out, stage by stage, by what the edges of the
// lab saw: what each target was told, when and by whom, and when it went down.
package stages
