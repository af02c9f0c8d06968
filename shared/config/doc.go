// Package config reads a program's YAML file strictly: unknown keys, wrong types, duplicates and unset
// variables are refused with file, line, column and what to write instead, all of them at once.
//
// It knows how to read and how to complain, and nothing about any program's keys. It imports no other
// package of this module.
//
// The YAML it takes is the plain part of YAML 1.2: one document of maps, lists, text, numbers, true and false.
// Anchors, aliases, merge keys and tags are refused, since each of them moves a value away from the line an
// error would name.
package config
