# Which tests tools/test.sh runs from this build: those of WODAN_SUITE get the label "suite", and the target "suite"
# builds their programs. A plain `ctest` runs everything, whatever the suite.
#
#   main     under the address sanitizer: all but those labelled `release`, unless labelled `main` too
#   release  optimized: those labelled `release`, for what is too slow under a sanitizer or about the finished program
#   threads  under the thread sanitizer: those labelled `threads`, once more
set(WODAN_SUITE main CACHE STRING "Tests labelled 'suite' for tools/test.sh: main, release or threads")

add_custom_target(suite)

# Labels the tests registered so far in the calling folder.
function(wodan_suite)
  get_property(tests DIRECTORY PROPERTY TESTS)
  foreach(test ${tests})
    get_property(labels TEST ${test} PROPERTY LABELS)
    set(member OFF)
    if(WODAN_SUITE IN_LIST labels)
      set(member ON)
    elseif(WODAN_SUITE STREQUAL main AND NOT release IN_LIST labels)
      set(member ON)
    endif()
    if(member)
      set_property(TEST ${test} APPEND PROPERTY LABELS suite)
      if(TARGET ${test})
        add_dependencies(suite ${test})
      endif()
    endif()
  endforeach()
endfunction()
