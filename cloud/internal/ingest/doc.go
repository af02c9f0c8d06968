// Package ingest takes what nodes and Pis post: it finds out who is calling, refuses
// what does not hold, keeps the liveness table, and turns the rest into inputs.
//
// It decides nothing about outages, and must not import another adapter.
package ingest
