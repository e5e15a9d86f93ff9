/* ---- the handler: {{ app.handler.name }}(), {{ app.handler.location }} */
{% for action in app.verdicts %}
action {{ action.name }}(inout metadata_t meta{{ action.parameters }}) {
{%- for line in action.lines %}
    {{ line }}
{%- endfor %}
}
{% endfor %}
{%- if !app.points.is_empty() %}
action rp_reach(inout metadata_t meta, in {{ app.name }}_point_t point, in bool create) {
    meta.point = point;
    meta.create = create;
    meta.step = rp_step_t.LOOKUP;
}
{% endif %}
{%- for control in app.handlers %}
{%- for line in control.docs %}
///{{ line }}
{%- endfor %}
control {{ control.name }}(inout headers_t hdr, inout metadata_t meta) {
{%- for local in control.locals %}
    {{ local }}
{%- endfor %}
{%- for table in control.tables %}
{%- if table.spaced %}
{% endif %}
{%- for line in table.docs %}
    ///{{ line }}
{%- endfor %}
{%- if !table.all_used %}
    @noWarn("unused")
{%- endif %}
    action {{ table.action }}({{ table.parameters }}) {
{%- for line in table.assignments %}
        {{ line }}
{%- endfor %}
    }
    table {{ table.name }} {
        key                  = {
{%- for key in table.keys %}
            {{ key }}
{%- endfor %}
        }
        actions              = { {{ table.action }}; }
        const default_action = {{ table.action }}({{ table.zeros }});
        size                 = {{ table.size }};
    }
{%- endfor %}
{%- if control.has_declarations %}
{% endif %}
    apply {
{%- for line in control.body %}
{{ line }}
{%- endfor %}
    }
}
{% endfor %}
