"""Which grammar reads which source file, and what its node types mean for an index: one row a language."""

from dataclasses import dataclass

# What `name = …` must hold for the name to be a definition.
FUNCTION_VALUES = frozenset(
    "arrow_function function_expression generator_function class anonymous_function function_definition"
    " method singleton_method struct_specifier union_specifier enum_specifier class_specifier".split()
)
# These only mention a name where they have no body: `struct point p;`, `mod tests;`, `namespace App;`.
ONLY_WITH_BODY = frozenset(
    "struct_specifier union_specifier enum_specifier class_specifier namespace_definition mod_item"
    " package_clause".split()
)


@dataclass(frozen=True, slots=True)
class Grammar:
    """Node types of one grammar.

    `leaves`: definitions in which nothing is titled (a function within a function belongs to it). `scopes`: those
    whose insides are one level deeper. `values`: definitions where their value is in FUNCTION_VALUES. `within`: looked
    through, for they only wrap or hold definitions. `above`: belong to the definition that follows them.
    """

    module: str
    leaves: frozenset[str]
    scopes: frozenset[str]
    within: frozenset[str]
    above: frozenset[str]
    values: frozenset[str]
    load: str


def _grammar(
    module: str, leaves: str, scopes: str, within: str, *, above: str = "", values: str = "", load: str = "language"
) -> Grammar:
    def types(names: str) -> frozenset[str]:
        return frozenset(names.split())

    return Grammar(
        f"tree_sitter_{module}",
        types(leaves),
        types(scopes),
        # What stands where the grammar lost track is still worth a look.
        types(within + " ERROR"),
        types(above + " comment line_comment block_comment multiline_comment"),
        types(values),
        load,
    )


_JS_LEAVES = "function_declaration generator_function_declaration method_definition"
_JS_WITHIN = (
    "export_statement lexical_declaration variable_declaration expression_statement class_body statement_block"
    # (function () { … })(): what a whole file was wrapped in before there were modules.
    " call_expression parenthesized_expression function_expression arrow_function"
)
# The arguments are those of (function () { … })().
_JS_ABOVE = "decorator arguments"
_TS_LEAVES = (
    " interface_declaration enum_declaration type_alias_declaration function_signature abstract_method_signature"
)
_TS_SCOPES = "class_declaration abstract_class_declaration internal_module module"
_TS_VALUES = "variable_declarator public_field_definition assignment_expression"
_C_WITHIN = (
    "preproc_ifdef preproc_if preproc_else preproc_elif preproc_elifdef linkage_specification declaration_list"
    " field_declaration_list field_declaration template_declaration"
)

_GRAMMARS: dict[str, Grammar] = {
    "py pyi pyw": _grammar(
        "python",
        "function_definition",
        "class_definition",
        "decorated_definition block if_statement elif_clause else_clause try_statement except_clause finally_clause"
        " with_statement",
        above="decorator",
    ),
    "js mjs cjs jsx": _grammar(
        "javascript",
        _JS_LEAVES,
        "class_declaration",
        _JS_WITHIN,
        above=_JS_ABOVE,
        values="variable_declarator field_definition assignment_expression",
    ),
    "ts mts cts": _grammar(
        "typescript",
        _JS_LEAVES + _TS_LEAVES,
        _TS_SCOPES,
        _JS_WITHIN + " ambient_declaration",
        above=_JS_ABOVE,
        values=_TS_VALUES,
        load="language_typescript",
    ),
    "tsx": _grammar(
        "typescript",
        _JS_LEAVES + _TS_LEAVES,
        _TS_SCOPES,
        _JS_WITHIN + " ambient_declaration",
        above=_JS_ABOVE,
        values=_TS_VALUES,
        load="language_tsx",
    ),
    "go": _grammar("go", "function_declaration method_declaration type_spec type_alias", "", "type_declaration"),
    "rs": _grammar(
        "rust",
        "function_item function_signature_item struct_item enum_item union_item macro_definition",
        "impl_item trait_item mod_item",
        "declaration_list foreign_mod_item",
        above="attribute_item",
    ),
    "java": _grammar(
        "java",
        "method_declaration constructor_declaration compact_constructor_declaration",
        "class_declaration interface_declaration enum_declaration record_declaration annotation_type_declaration",
        "class_body interface_body enum_body enum_body_declarations annotation_type_body",
    ),
    "c": _grammar(
        "c",
        "function_definition struct_specifier union_specifier enum_specifier preproc_function_def",
        "",
        _C_WITHIN,
        values="type_definition",
    ),
    # Many a .h is C++, and nearly all of C is.
    "h cc cpp cxx hpp hh": _grammar(
        "cpp",
        "function_definition union_specifier enum_specifier concept_definition preproc_function_def",
        "namespace_definition class_specifier struct_specifier",
        _C_WITHIN,
        above="template_parameter_list requires_clause access_specifier attribute_declaration",
        values="type_definition",
    ),
    "cs": _grammar(
        "c_sharp",
        "method_declaration constructor_declaration destructor_declaration operator_declaration"
        " conversion_operator_declaration indexer_declaration enum_declaration",
        "namespace_declaration class_declaration struct_declaration interface_declaration record_declaration",
        "declaration_list",
    ),
    "rb": _grammar(
        "ruby", "method singleton_method", "class module", "body_statement singleton_class", values="assignment call"
    ),
    "php": _grammar(
        "php",
        "function_definition method_declaration",
        "class_declaration interface_declaration trait_declaration enum_declaration namespace_definition",
        "declaration_list enum_declaration_list compound_statement if_statement expression_statement",
        above="attribute_list",
        values="assignment_expression",
        load="language_php",
    ),
    "sh bash zsh": _grammar("bash", "function_definition", "", "if_statement else_clause"),
    "kt kts": _grammar(
        "kotlin",
        "function_declaration secondary_constructor",
        "class_declaration object_declaration companion_object",
        "class_body enum_class_body",
    ),
    "swift": _grammar(
        "swift",
        "function_declaration init_declaration deinit_declaration protocol_function_declaration",
        "class_declaration protocol_declaration",
        "class_body enum_class_body protocol_body",
    ),
    "scala": _grammar(
        "scala",
        "function_definition function_declaration given_definition",
        "class_definition object_definition trait_definition enum_definition package_clause package_object",
        "template_body enum_body",
        above="annotation",
    ),
    "lua": _grammar(
        "lua", "function_declaration", "", "variable_declaration do_statement block", values="assignment_statement"
    ),
}

BY_SUFFIX = {f".{suffix}": grammar for suffixes, grammar in _GRAMMARS.items() for suffix in suffixes.split()}
"""Suffix, lower case with its dot, to grammar."""
