/* The words of the document for what is an enum in the struct, in the enum's order (of this folder, and of what shows a
 * policy). */
#ifndef CF_POLICY_POLICY_WORDS_H
#define CF_POLICY_POLICY_WORDS_H

extern const char *const cf_schedule_words[3];
extern const char *const cf_protection_words[4];
extern const char *const cf_drill_words[4];

#endif
