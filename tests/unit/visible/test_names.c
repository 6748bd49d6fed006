#include "../keys/help.h"

#include "visible/names.h"

static const char *const GOOD[] = {
    "servers/000102030405060708090a0b0c0d0e0f/packs/0000000000000001-ffeeddccbbaa99887766554433221100",
    "servers/000102030405060708090a0b0c0d0e0f/packs/0000ffffffffffff-ffeeddccbbaa99887766554433221100",
    "servers/000102030405060708090a0b0c0d0e0f/packs/00000000000000ff-ffeeddccbbaa99887766554433221100.0000000a",
    "servers/000102030405060708090a0b0c0d0e0f/records/ffeeddccbbaa99887766554433221100",
    "servers/000102030405060708090a0b0c0d0e0f/slots/00000001",
    ("servers/000102030405060708090a0b0c0d0e0f/points/0000000000000001-"
     "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"),
    "journal/0000000000000000",
    "journal/ffffffffffffffff",
};

static void names_round_trip(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof GOOD / sizeof GOOD[0]; i++) {
        cf_name name;
        char again[CF_NAME_MAX];
        assert_true(cf_name_parse(GOOD[i], &name));
        cf_name_build(&name, again);
        assert_string_equal(again, GOOD[i]);
        char text[CF_NAME_MAX]; /* cut or changed anywhere: refused, or another name that builds again */
        for (size_t size = 0; size < strlen(GOOD[i]); size++) {
            memcpy(text, GOOD[i], size);
            text[size] = '\0';
            if (cf_name_parse(text, &name)) assert_non_null(strchr(GOOD[i], '.')); /* only a generation can go */
        }
        for (size_t at = 0; at < strlen(GOOD[i]); at++) {
            strcpy(text, GOOD[i]);
            text[at] ^= 0x20; /* turns lower case into upper case */
            if (cf_name_parse(text, &name)) {
                cf_name_build(&name, again);
                assert_string_equal(again, text);
            }
        }
        strcpy(text, GOOD[i]);
        strcat(text, "0");
        assert_false(cf_name_parse(text, &name));
    }
}

static void parts_are_found(void **state) {
    (void)state;
    cf_name name;
    assert_true(cf_name_parse(GOOD[2], &name));
    assert_int_equal(name.type, CF_NAME_PACK);
    assert_int_equal(name.number, 255);
    assert_int_equal(name.generation, 10);
    assert_hex(name.session.bytes, 16, "ffeeddccbbaa99887766554433221100");
    assert_hex(name.server.bytes, 16, "000102030405060708090a0b0c0d0e0f");
    char text[CF_NAME_MAX];
    cf_name_pack(&name.server, 255, &name.session, 10, text);
    assert_string_equal(text, GOOD[2]);
    cf_name_record(&name.server, &name.session, text);
    assert_string_equal(text, GOOD[3]);
    cf_name_slot(&name.server, 1, text);
    assert_string_equal(text, GOOD[4]);
    cf_name point;
    assert_true(cf_name_parse(GOOD[5], &point));
    cf_name_point(&point.server, point.number, &point.point, text);
    assert_string_equal(text, GOOD[5]);
    cf_name_journal(UINT64_MAX, text);
    assert_string_equal(text, GOOD[7]);
    cf_name_folder(CF_NAME_PACK, &name.server, text);
    assert_string_equal(text, "servers/000102030405060708090a0b0c0d0e0f/packs");
    cf_name_folder(CF_NAME_JOURNAL, NULL, text);
    assert_string_equal(text, "journal");
}

static void other_texts_are_no_names(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        "/",
        "journal",
        "journal/",
        "journal/1",
        "journal/00000000000000000",
        "journal/000000000000000G",
        "journal/../../etc/passwd",
        "servers/000102030405060708090a0b0c0d0e0f",
        "servers/000102030405060708090a0b0c0d0e0f/",
        "servers/000102030405060708090a0b0c0d0e0f/packs",
        "servers/000102030405060708090A0b0c0d0e0f/slots/00000001",
        "servers/000102030405060708090a0b0c0d0e0f/slots/00000000",
        "servers/000102030405060708090a0b0c0d0e0f/slots/0000001 ",
        "servers/000102030405060708090a0b0c0d0e0f/packs/0000000000000000-ffeeddccbbaa99887766554433221100",
        "servers/000102030405060708090a0b0c0d0e0f/packs/0001000000000000-ffeeddccbbaa99887766554433221100",
        "servers/000102030405060708090a0b0c0d0e0f/packs/0000000000000001-ffeeddccbbaa99887766554433221100.00000000",
        "servers/000102030405060708090a0b0c0d0e0f/packs/0000000000000001-ffeeddccbbaa99887766554433221100.0000001",
        "servers/000102030405060708090a0b0c0d0e0f/points/0000000000000000-ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100",
        "Servers/000102030405060708090a0b0c0d0e0f/slots/00000001",
        "/journal/0000000000000000",
        "journal//0000000000000000",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cf_name name;
        assert_false(cf_name_parse(bad[i], &name));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_round_trip),
        cmocka_unit_test(parts_are_found),
        cmocka_unit_test(other_texts_are_no_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
