//go:build race

package main

// raced tells whether the tests, and with them the program, look for races.
const raced = true
