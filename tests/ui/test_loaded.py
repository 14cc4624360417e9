"""The chip in the header: where it computes, and behind it the models in memory with Unload."""

from playwright.sync_api import expect


def test_the_chip_lists_what_is_loaded_and_unloads_it(open_page):
    page = open_page()
    chip, box = page.locator("#device"), page.locator("#memory")
    expect(chip).to_contain_text("CPU")
    expect(box).to_be_hidden()
    page.locator("#mixture-sample-form").get_by_role("button", name="Generate").click()
    expect(page.locator("#mixture-sample-message")).to_contain_text("seed")
    chip.click()
    expect(chip).to_have_attribute("aria-expanded", "true")
    row = box.locator("[data-model^=mixture]").first
    expect(row).to_contain_text("iB · cpu")
    name = row.get_attribute("data-model")
    row.get_by_role("button").click()
    expect(box.locator(f"[data-model={name}]")).to_have_count(0)
    expect(box).to_contain_text("freed")
    page.keyboard.press("Escape")
    expect(box).to_be_hidden()
    expect(chip).to_be_focused()
    chip.click()
    expect(box).to_be_visible()
    page.mouse.click(5, 500)
    expect(box).to_be_hidden()


def test_on_a_phone_the_list_stays_on_the_screen(open_page):
    page = open_page(390, 844, dark=True)
    page.locator("#device").click()
    box = page.locator("#memory").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
