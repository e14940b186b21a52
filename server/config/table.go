package config

import (
	"fmt"
	"reflect"
	"strings"
)

// Variable is one line of the configuration's table.
type Variable struct {
	Name, Default, Meaning string
}

// Variables lists what Load reads, in the order of the struct.
func Variables() []Variable {
	t := reflect.TypeFor[Config]()
	list := make([]Variable, 0, t.NumField())
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		v := Variable{Name: tag.Get("env"), Default: tag.Get("envDefault"), Meaning: tag.Get("desc")}
		if shown := tag.Get("shown"); shown != "" {
			v.Default = shown
		}
		if v.Default == "" {
			v.Default = "empty"
		}
		list = append(list, v)
	}
	return list
}

// Markdown returns the table of all variables in Markdown.
func Markdown() string {
	var b strings.Builder
	b.WriteString("| variable | default | meaning |\n| --- | --- | --- |\n")
	for _, v := range Variables() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", v.Name, quoted(v.Default), strings.ReplaceAll(v.Meaning, "*", `\*`))
	}
	return b.String()
}

// quoted sets a default that can be typed as it is in code font.
func quoted(value string) string {
	if strings.Contains(value, " ") || value == "empty" || value == "embedded" {
		return value
	}
	return "`" + value + "`"
}
