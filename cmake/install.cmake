# What `cmake --install` puts where: libraries, headers, the CMake package wodan::, wodan.pc and wodan-sim.pc, man pages and
# completions. Tools install themselves.
include(CMakePackageConfigHelpers)

foreach(kind static shared)
  add_library(wodan::${kind} ALIAS wodan_${kind}) # the names an installed package has, for add_subdirectory too
  add_library(wodan::sim_${kind} ALIAS wodan_sim_${kind})
endforeach()

install(TARGETS wodan_static wodan_shared wodan_sim_static wodan_sim_shared EXPORT wodan-targets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/wodan DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")

set(WODAN_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/wodan)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/wodan-config.cmake.in ${PROJECT_BINARY_DIR}/wodan-config.cmake
                              INSTALL_DESTINATION ${WODAN_CMAKE_DIR})
# Before version 1.0 a minor version may change the interface.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/wodan-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/wodan-config.cmake ${PROJECT_BINARY_DIR}/wodan-config-version.cmake
        DESTINATION ${WODAN_CMAKE_DIR})
install(EXPORT wodan-targets NAMESPACE wodan:: DESTINATION ${WODAN_CMAKE_DIR})

# Library and header folders are joined to the prefix inside wodan.pc, so they must be relative to it.
foreach(folder LIBDIR INCLUDEDIR)
  if(IS_ABSOLUTE "${CMAKE_INSTALL_${folder}}")
    message(FATAL_ERROR "CMAKE_INSTALL_${folder} must be relative to the prefix, not ${CMAKE_INSTALL_${folder}}")
  endif()
endforeach()
file(RELATIVE_PATH WODAN_PREFIX_FROM_PC /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" WODAN_PREFIX_FROM_PC "${WODAN_PREFIX_FROM_PC}")
foreach(package wodan wodan-sim)
  configure_file(${CMAKE_CURRENT_LIST_DIR}/${package}.pc.in ${PROJECT_BINARY_DIR}/${package}.pc @ONLY)
endforeach()
install(FILES ${PROJECT_BINARY_DIR}/wodan.pc ${PROJECT_BINARY_DIR}/wodan-sim.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES ${PROJECT_SOURCE_DIR}/docs/man/wodan.3 DESTINATION ${CMAKE_INSTALL_MANDIR}/man3)
install(FILES ${PROJECT_SOURCE_DIR}/docs/man/wodan.5 DESTINATION ${CMAKE_INSTALL_MANDIR}/man5)
if(WODAN_TOOLS)
  install(FILES ${PROJECT_SOURCE_DIR}/docs/man/wodan.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
  install(FILES ${PROJECT_SOURCE_DIR}/docs/man/wodan-fsck.8 DESTINATION ${CMAKE_INSTALL_MANDIR}/man8)
  install(FILES ${PROJECT_SOURCE_DIR}/tools/completion/wodan ${PROJECT_SOURCE_DIR}/tools/completion/wodan-fsck
          DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
endif()
